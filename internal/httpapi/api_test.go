package httpapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/openway-access/openway/api"
)

// What the golden corpus has no line for, in both languages.
func TestBadBodies(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	const token, register, revoke = api.PathToken, api.PathRegisterDevice, api.PathRevokeDevice
	for _, c := range []struct {
		path, contentType, body string
		status                  int
		en, ru                  string
	}{
		{token, jsonType, `{}`, 400, `{"password":["This field is required."],"username":["This field is required."]}`, `{"password":["Обязательное поле."],"username":["Обязательное поле."]}`},
		{token, "", ``, 400, `{"password":["This field is required."],"username":["This field is required."]}`, ``},
		{token, jsonType, `{"username":" ","password":""}`, 400, `{"password":["This field may not be blank."],"username":["This field may not be blank."]}`, `{"password":["Это поле не может быть пустым."],"username":["Это поле не может быть пустым."]}`},
		{token, formType, `username=&password=`, 400, `{"password":["This field may not be blank."],"username":["This field may not be blank."]}`, ``},
		{token, jsonType, `{"username":null,"password":null}`, 400, `{"password":["This field may not be null."],"username":["This field may not be null."]}`, ``},
		{token, jsonType, `{"username":true,"password":[]}`, 400, `{"password":["Not a valid string."],"username":["Not a valid string."]}`, `{"password":["Значение должно быть строкой."],"username":["Значение должно быть строкой."]}`},
		{token, jsonType, `{"username":"\ud800","password":"x"}`, 400, `{"username":["Surrogate characters are not allowed: U+D800."]}`, `{"username":["Суррогатные символы не допускаются: U+D800."]}`},
		{token, jsonType, `{"username":"demo","password":"wrong"}`, 400, `{"non_field_errors":["Unable to log in with provided credentials."]}`, `{"non_field_errors":["Невозможно войти с предоставленными учетными данными."]}`},
		{token, jsonType, `{"username":"carol","password":"StrongPass_123"}`, 400, `{"non_field_errors":["Unable to log in with provided credentials."]}`, ``},
		{token, jsonType, `{"username":"nobody","password":"StrongPass_123"}`, 400, `{"non_field_errors":["Unable to log in with provided credentials."]}`, ``},
		{token, jsonType, `[1]`, 400, `{"non_field_errors":["Invalid data. Expected a dictionary, but got list."]}`, `{"non_field_errors":["Недопустимые данные. Ожидался словарь, но был получен list."]}`},
		{token, jsonType, `null`, 400, `{"non_field_errors":["No data provided"]}`, `{"non_field_errors":["Данные не предоставлены"]}`},
		{token, jsonType, `{"a":1,}`, 400, `{"detail":"JSON parse error at byte 7."}`, `{"detail":"Ошибка разбора JSON: байт 7."}`},
		{token, "multipart/form-data", `x`, 400, `{"detail":"Multipart form parse error."}`, ``},
		{token, `text/"<é>`, `x`, 415, `{"detail":"Unsupported media type \"text/\"<é>\" in request."}`, `{"detail":"Неподдерживаемый тип данных \"text/\"<é>\" в запросе."}`},
		{token, "", `x`, 415, `{"detail":"Unsupported media type \"\" in request."}`, ``},
		{token, jsonType, strings.Repeat(" ", maxBody+1), 413, `{"detail":"The request body is too large: at most 65536 bytes."}`, `{"detail":"Тело запроса слишком велико: допускается не более 65536 байт."}`},

		{register, jsonType, `{"rotate":"maybe","android_device_id":[]}`, 400, `{"android_device_id":["Not a valid string."],"rotate":["Must be a valid boolean."]}`, `{"android_device_id":["Значение должно быть строкой."],"rotate":["Значение должно быть логическим: true или false."]}`},
		{register, jsonType, `{"android_device_id":"` + strings.Repeat("a", 128) + `\u0000"}`, 400, `{"android_device_id":["Ensure this field has no more than 128 characters.","Null characters are not allowed."]}`, ``},
		{register, jsonType, `[1]`, 400, `{"non_field_errors":["Invalid data. Expected a dictionary, but got list."]}`, ``},
		{register, jsonType, `true`, 400, `{"non_field_errors":["Invalid data. Expected a dictionary, but got bool."]}`, ``},
		{register, jsonType, strings.Repeat("[", 70000), 413, `{"detail":"The request body is too large: at most 65536 bytes."}`, ``},

		{revoke, jsonType, `{}`, 400, `{"non_field_errors":["Provide device_id or android_device_id"]}`, `{"non_field_errors":["Укажите device_id или android_device_id"]}`},
		{revoke, formType, `device_id=&android_device_id=`, 400, `{"non_field_errors":["Provide device_id or android_device_id"]}`, ``},
		{revoke, jsonType, `{"device_id":0,"android_device_id":" "}`, 400, `{"non_field_errors":["Provide device_id or android_device_id"]}`, ``},
		{revoke, jsonType, `{"device_id":null,"android_device_id":null}`, 400, `{"android_device_id":["This field may not be null."],"device_id":["This field may not be null."]}`, ``},
		{revoke, jsonType, `{"device_id":1.5}`, 400, `{"device_id":["A valid integer is required."]}`, `{"device_id":["Введите правильное число."]}`},
		{revoke, jsonType, `{"device_id":"` + strings.Repeat("1", 1001) + `"}`, 400, `{"device_id":["String value too large."]}`, `{"device_id":["Слишком длинное значение."]}`},
		{revoke, jsonType, `{"device_id":9223372036854775808}`, 404, `{"detail":"Device not found"}`, `{"detail":"Устройство не найдено"}`},
		{revoke, jsonType, `{"device_id":9223372036854775807}`, 404, `{"detail":"Device not found"}`, ``},
		{revoke, jsonType, `{"device_id":-9223372036854775809}`, 404, `{"detail":"Device not found"}`, ``},
		{revoke, jsonType, `{"android_device_id":"\udfff"}`, 400, `{"android_device_id":["Surrogate characters are not allowed: U+DFFF."]}`, ``},
		{revoke, jsonType, `"x"`, 400, `{"non_field_errors":["Invalid data. Expected a dictionary, but got str."]}`, ``},
		{revoke, jsonType, `[]`, 400, `{"non_field_errors":["Invalid data. Expected a dictionary, but got list."]}`, ``},
	} {
		for lang, want := range map[string]string{"en": c.en, "ru": c.ru} {
			if want == "" {
				continue
			}
			header := []string{asDemo, "Accept-Language: " + lang}
			if c.contentType != "" {
				header = append(header, "Content-Type: "+c.contentType)
			}
			w := s.ask("POST", c.path, c.body, header...)
			if w.Code != c.status || w.Body.String() != want || w.Header().Get("Content-Language") != lang {
				t.Errorf("%s %.60q in %s: %d %s (%s); want %d %s", c.path, c.body, lang, w.Code, w.Body, w.Header().Get("Content-Language"), c.status, want)
			}
		}
	}
}

// A large body without a length is refused all the same.
func TestChunkedTooLarge(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	r := chunked(strings.Repeat(" ", maxBody+1))
	w := s.askRequest(r)
	if w.Code != http.StatusRequestEntityTooLarge || w.Header().Get("Connection") != "close" {
		t.Errorf("got %d, Connection %q; want 413, close", w.Code, w.Header().Get("Connection"))
	}
}

func TestRegisterDevice(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	register := func(contentType, body string) api.RegisterDeviceResponse {
		t.Helper()
		w := s.ask("POST", api.PathRegisterDevice, body, asDemo, "Content-Type: "+contentType)
		var out api.RegisterDeviceResponse
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != 200 || out.QRPayload != out.Token {
			t.Fatalf("%s: %d %s", body, w.Code, w.Body)
		}
		if w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("an answer with a token may be cached: %v", w.Header())
		}
		return out
	}
	for _, c := range []struct {
		contentType, body, android string
		rotated                    bool
	}{
		{jsonType, `{"rotate":false}`, "android-demo", false},
		{formType, `rotate=off&android_device_id=`, "android-demo", false},
		{jsonType, `{"rotate":false,"android_device_id":null}`, "android-demo", false},
		{jsonType, `{"rotate":false,"android_device_id":"  "}`, "", false},
		{jsonType, `{"rotate":false,"android_device_id":"a\tb\u001bc"}`, "a\tb\x1bc", false},
		{jsonType, `{"rotate":false,"android_device_id":" x y "}`, "x y", false},
		{jsonType, `{"rotate":0.0,"android_device_id":123}`, "123", false},
		{jsonType, `{"rotate":"False","android_device_id":1.50}`, "1.50", false},
		{jsonType, `null`, "1.50", true},
		{jsonType, `0`, "1.50", true},
		{jsonType, `""`, "1.50", true},
		{"text/plain", ``, "1.50", true},
		{multiType, multi(`name="rotate"|`), "1.50", true},
	} {
		before := register(jsonType, `{"rotate":false}`)
		got := register(c.contentType, c.body)
		if got.DeviceID != before.DeviceID || got.AndroidDeviceID != c.android || (got.Token != before.Token) != c.rotated {
			t.Errorf("%s: got %+v after %+v; want android id %q, rotated %t", c.body, got, before, c.android, c.rotated)
		}
	}
}

func TestUserIDIsLogged(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.ask("GET", api.PathDevices, "", asDemo)
	if got := s.attrs.got["user_id"]; got != "2" {
		t.Errorf("devices/me of user 2 logs user_id %q", got)
	}
	s.ask("POST", api.PathToken, `{"username":"alice","password":"StrongPass_123"}`, asJSON)
	if got := s.attrs.got["user_id"]; got != "3" {
		t.Errorf("user 3 signed in: logged user_id %q", got)
	}
}

func TestServerErrors(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *Config) { c.Language = "ru" })
	for _, c := range []struct {
		status int
		want   string
	}{
		{400, `{"detail":"Сервер не отвечает по этому имени хоста."}`},
		{404, `{"detail":"Не найдено."}`},
		{405, `{"detail":"Метод \"GET\" не разрешен."}`},
		{413, `{"detail":"Тело запроса слишком велико: допускается не более 65536 байт."}`},
		{500, `{"detail":"Внутренняя ошибка сервера. Запрос test-1."}`},
		{503, `{"detail":"Сервис сейчас недоступен. Повторите попытку немного позже."}`},
		{431, `{"detail":"Запрос не удалось прочитать."}`},
	} {
		w := s.askError(c.status)
		if w.Code != c.status || w.Body.String() != c.want {
			t.Errorf("%d: got %d %s, want %s", c.status, w.Code, w.Body, c.want)
		}
	}
}

func TestSchemaNegotiation(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	for _, c := range []struct{ path, accept, want string }{
		{"/schema/", "", "application/yaml; charset=utf-8"},
		{"/schema/", "*/*", "application/yaml; charset=utf-8"},
		{"/schema/", "text/html,application/xhtml+xml,*/*;q=0.8", "application/yaml; charset=utf-8"},
		{"/schema/", "application/json", "application/json"},
		{"/schema/", "application/json, */*", "application/json"},
		{"/schema/", "application/json;q=0.5, application/yaml", "application/yaml; charset=utf-8"},
		{"/schema/", "application/json;q=0", "application/yaml; charset=utf-8"},
		{"/schema/?format=json", "application/yaml", "application/json"},
		{"/schema/?format=yaml", "application/json", "application/yaml; charset=utf-8"},
	} {
		w := s.ask("GET", c.path, "", "Accept: "+c.accept)
		if got := w.Header().Get("Content-Type"); w.Code != 200 || got != c.want {
			t.Errorf("%s, Accept %q: %d %q, want %q", c.path, c.accept, w.Code, got, c.want)
		}
		if c.want == "application/json" {
			var doc map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || doc["openapi"] == nil || len(doc["paths"].(map[string]any)) != 11 {
				t.Errorf("the document as JSON: %v, paths %v", err, doc["paths"])
			}
		} else if w.Body.String() != api.OpenAPI() {
			t.Error("the document as YAML differs from api.OpenAPI")
		}
	}
}

// The document names every route, and no more.
func TestSchemaIsComplete(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	var doc struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(s.schema.json, &doc); err != nil {
		t.Fatal(err)
	}
	for _, rt := range s.routes() {
		path := strings.TrimSuffix(rt.path, "{$}")
		if strings.HasPrefix(path, "/docs/") && path != "/docs/" || rt.path == "/schema" || rt.path == "/docs" || rt.path == "/admin" {
			continue
		}
		if doc.Paths[path][strings.ToLower(rt.method)] == nil {
			t.Errorf("openapi.yaml does not describe %s %s", rt.method, path)
		}
	}
	for path := range doc.Paths {
		if len(s.Methods(path)) == 0 && !strings.HasPrefix(path, "/health") && !strings.HasPrefix(path, "/ready") {
			t.Errorf("openapi.yaml describes %s, which is no route", path)
		}
	}
}

func TestDocs(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	w := s.ask("GET", "/docs/", "")
	page, policy := w.Body.String(), w.Header().Get("Content-Security-Policy")
	if w.Code != 200 || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "default-src 'none'") || strings.Contains(page, "://") ||
		strings.Contains(page, "<style") || strings.Contains(page, "style=") || strings.Contains(page, "<script>") {
		t.Errorf("the page: %d, policy %q\n%s", w.Code, policy, page)
	}
	for _, name := range []string{"docs.js", "favicon-32x32.png", "swagger-ui.css", "swagger-ui-bundle.js"} {
		if !strings.Contains(page, `"`+name+`"`) {
			t.Errorf("the page does not load %s", name)
		}
		plain := s.ask("GET", "/docs/"+name, "")
		if plain.Code != 200 || plain.Body.Len() < 100 || plain.Header().Get("Content-Encoding") != "" {
			t.Errorf("%s: %d, %d bytes, %v", name, plain.Code, plain.Body.Len(), plain.Header())
		}
		packed := s.ask("GET", "/docs/"+name, "", "Accept-Encoding: br, gzip")
		if packed.Code != 200 || packed.Body.Len() > plain.Body.Len() {
			t.Errorf("%s gzipped: %d, %d bytes of %d", name, packed.Code, packed.Body.Len(), plain.Body.Len())
		}
	}
}

// FuzzAPI sends any body of any type to every path that reads one: nothing panics and nothing answers 500.
func FuzzAPI(f *testing.F) {
	s := newSite(f, nil)
	paths := []string{api.PathVerify, api.PathToken, api.PathRegisterDevice, api.PathRevokeDevice}
	for i := range paths {
		f.Add(i, jsonType, []byte(`{"gate_id":"gate-01","token":"`+demoToken+`"}`))
		f.Add(i, jsonType, []byte(`{"username":"demo\u0000","password":"\ud800"}`))
		f.Add(i, jsonType, []byte(`{"device_id":1e3,"android_device_id":"x","rotate":"y"}`))
		f.Add(i, formType, []byte(`device_id=%31&android_device_id=%ff&username=demo&password=x&gate_id=1&token=12345678`))
		f.Add(i, multiType, []byte(multi(`name="token"; filename="x"|y`, `name="rotate"|no`)))
		f.Add(i, "text/plain", []byte(`x`))
	}
	f.Fuzz(func(t *testing.T, path int, contentType string, body []byte) {
		if strings.ContainsAny(contentType, "\r\n\x00") {
			return
		}
		path = max(path, -path) & (len(paths) - 1)
		w := s.ask("POST", paths[path], string(body), asDemo, "Content-Type: "+contentType)
		if w.Code >= 500 || w.Code == 0 {
			t.Fatalf("%s %s %q: %d %s", paths[path], contentType, body, w.Code, w.Body)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%s %s %q: answered %q, which is no JSON", paths[path], contentType, body, w.Body)
		}
	})
}
