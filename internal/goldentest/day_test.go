package goldentest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/openway-access/openway/api"
	"github.com/openway-access/openway/internal/storetest"
)

const (
	allowed  = `"decision":"ALLOW"` // the bytes that the firmware looks for
	password = "StrongPass_123"
)

// TestDayInTheLife does what a day brings, with the bytes that the clients in the field send: the phone signs in and registers, the door asks, the
// phone is revoked, the door asks again.
func TestDayInTheLife(t *testing.T) {
	t.Parallel()
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			seeds := newSeeds(t, engine)
			database, err := seeds.fresh()
			if err != nil {
				t.Fatal(err)
			}
			defer seeds.drop(t, database)
			p, err := start(database) // with all throttles as they come
			if err != nil {
				t.Fatal(err)
			}
			d := day{t: t, address: p.Address, contract: readContract(t)}
			d.live()
			log := p.Stop(t)
			d.checkLog(log)
		})
	}
}

type day struct {
	t        *testing.T
	address  string
	contract contract
	secrets  []string // what must not stand in the log
}

func (d *day) live() {
	t := d.t
	d.firmwareStarts()
	first := d.phoneSignsIn("demo")
	second := d.phoneSignsIn("demo")
	if first == second {
		t.Errorf("two sign-ins gave the same token")
	}
	d.phoneIsRefused("demo")

	device := d.phoneRegisters(first, "android-day")
	for what, token := range map[string]string{"user token": first, "earlier user token": second, "device token": device.Token} {
		if got := d.doorAsks("gate-01", token); !strings.Contains(got, allowed) {
			t.Errorf("the door asks for the %s: %s, want ALLOW", what, got)
		}
	}
	if got := d.doorAsks("gate-99", first); got != `{"decision":"DENY","reason":"UNKNOWN_GATE"}` {
		t.Errorf("an unknown gate: %s", got)
	}
	rotated := d.phoneRegisters(first, "android-day")
	if rotated.DeviceID != device.DeviceID || rotated.Token == device.Token {
		t.Errorf("registering again gave device %d, want %d with a new token", rotated.DeviceID, device.DeviceID)
	}
	if got := d.doorAsks("gate-01", device.Token); got != `{"decision":"DENY","reason":"TOKEN_INVALID"}` {
		t.Errorf("the device's old token after rotation: %s", got)
	}
	d.phoneRevokes(first, rotated.DeviceID)
	if got := d.doorAsks("gate-01", rotated.Token); got != `{"decision":"DENY","reason":"DEVICE_INACTIVE"}` {
		t.Errorf("the device's token after the revocation: %s", got)
	}
	if got := d.doorAsks("gate-01", first); !strings.Contains(got, allowed) {
		t.Errorf("the user's token after the device's revocation: %s, want ALLOW", got)
	}
	d.clientOfOurs()
}

// check holds an answer against the OpenAPI document.
func (d *day) check(method, path string, got response) response {
	d.t.Helper()
	if bad := d.contract.mismatch(method, path, got); bad != "" {
		d.t.Errorf("%s %s against openapi.yaml: %s", method, path, bad)
	}
	return got
}

// firmwareStarts is the firmware's look whether the server is there.
func (d *day) firmwareStarts() {
	d.t.Helper()
	raw := "GET /health HTTP/1.1\r\nHost: " + d.address + "\r\nUser-Agent: ESP32HTTPClient\r\nConnection: close\r\n" +
		"Accept-Encoding: identity;q=1,chunked;q=0.1,*;q=0\r\n\r\n"
	got := d.check("GET", "/health", readAnswer(d.t, d.address, "GET", []byte(raw)))
	if got.status != 200 || !strings.Contains(string(got.body), `"ok"`) {
		d.t.Errorf("health: %d %s", got.status, got.body)
	}
}

// doorAsks sends what ESP32's HTTPClient sends, on a connection of its own.
func (d *day) doorAsks(gate, token string) string {
	d.t.Helper()
	d.secrets = append(d.secrets, token)
	body := fmt.Sprintf(`{"gate_id":"%s","token":"%s"}`, gate, token)
	raw := "POST /api/v1/access/verify HTTP/1.1\r\nHost: " + d.address + "\r\nUser-Agent: ESP32HTTPClient\r\nConnection: close\r\n" +
		"Accept-Encoding: identity;q=1,chunked;q=0.1,*;q=0\r\nContent-Type: application/json\r\n" +
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	got := d.check("POST", api.PathVerify, readAnswer(d.t, d.address, "POST", []byte(raw)))
	if got.status != 200 || len(got.header["Transfer-Encoding"]) > 0 || got.header.Get("Content-Length") == "" {
		d.t.Errorf("verify: status %d, headers %v: the firmware wants 200 and a Content-Length", got.status, got.header)
	}
	return string(got.body)
}

// phone sends what Retrofit over OkHttp sends.
func (d *day) phone(method, path, token, body string) response {
	d.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", method, path)
	if token != "" {
		fmt.Fprintf(&b, "Authorization: Token %s\r\n", token)
	}
	if method == "POST" {
		fmt.Fprintf(&b, "Content-Type: application/json; charset=UTF-8\r\nContent-Length: %d\r\n", len(body))
	}
	fmt.Fprintf(&b, "Host: %s\r\nConnection: close\r\nAccept-Encoding: gzip\r\nUser-Agent: okhttp/4.12.0\r\n\r\n%s", d.address, body)
	return d.check(method, path, readAnswer(d.t, d.address, method, []byte(b.String())))
}

func (d *day) phoneSignsIn(username string) string {
	d.t.Helper()
	d.secrets = append(d.secrets, password)
	got := d.phone("POST", api.PathToken, "", fmt.Sprintf(`{"username":"%s","password":"%s"}`, username, password))
	var out api.TokenResponse
	if err := json.Unmarshal(got.body, &out); err != nil || got.status != 200 || len(out.Token) != 40 || len(out.Token) > 97 {
		d.t.Fatalf("sign in: %d %s", got.status, got.body)
	}
	d.secrets = append(d.secrets, out.Token)
	return out.Token
}

// phoneIsRefused: the app takes 400 for a wrong login or password.
func (d *day) phoneIsRefused(username string) {
	d.t.Helper()
	got := d.phone("POST", api.PathToken, "", fmt.Sprintf(`{"username":"%s","password":"wrong"}`, username))
	if got.status != 400 || string(got.body) != `{"non_field_errors":["Unable to log in with provided credentials."]}` {
		d.t.Errorf("a wrong password: %d %s", got.status, got.body)
	}
}

func (d *day) phoneRegisters(token, android string) api.RegisterDeviceResponse {
	d.t.Helper()
	got := d.phone("POST", api.PathRegisterDevice, token, fmt.Sprintf(`{"android_device_id":"%s","rotate":true}`, android))
	var out api.RegisterDeviceResponse
	if err := json.Unmarshal(got.body, &out); err != nil || got.status != 200 || len(out.Token) != 64 || out.QRPayload != out.Token || out.AndroidDeviceID != android {
		d.t.Fatalf("register: %d %s", got.status, got.body)
	}
	d.secrets = append(d.secrets, out.Token)
	return out
}

func (d *day) phoneRevokes(token string, id int64) {
	d.t.Helper()
	got := d.phone("POST", api.PathRevokeDevice, token, fmt.Sprintf(`{"device_id":%d}`, id))
	if want := fmt.Sprintf(`{"device_id":%d,"is_active":false}`, id); got.status != 200 || string(got.body) != want {
		d.t.Errorf("revoke: %d %s, want %s", got.status, got.body, want)
	}
	got = d.phone("GET", api.PathDevices, token, "")
	var out []api.Device
	if err := json.Unmarshal(got.body, &out); err != nil || got.status != 200 || len(out) == 0 || out[0].ID != id || out[0].IsActive {
		d.t.Errorf("devices after the revocation: %d %s, want device %d first and inactive", got.status, got.body, id)
	}
}

// clientOfOurs is the same with the client that package api offers.
func (d *day) clientOfOurs() {
	t, ctx := d.t, context.Background()
	c := &api.Client{Base: "http://" + d.address, Language: "ru"}
	if _, err := c.Devices(ctx); !errors.Is(err, api.ErrNoToken) {
		t.Errorf("devices before signing in: %v, want ErrNoToken", err)
	}
	var refused *api.Error
	if _, err := c.SignIn(ctx, "alice", "wrong"); !errors.As(err, &refused) || refused.Status != http.StatusBadRequest ||
		refused.Fields["non_field_errors"][0] != "Невозможно войти с предоставленными учетными данными." {
		t.Errorf("a wrong password: %v", err)
	}
	token, err := c.SignIn(ctx, "alice", password)
	if err != nil {
		t.Fatalf("sign in: %v", err)
	}
	d.secrets = append(d.secrets, token)
	android := "client-1"
	registered, err := c.RegisterDevice(ctx, api.RegisterDeviceRequest{AndroidDeviceID: &android})
	if err != nil {
		t.Fatalf("register: %v", err)
	}
	d.secrets = append(d.secrets, registered.Token)
	if r, err := c.Verify(ctx, "gate-01", registered.Token); err != nil || !r.Allowed() || r.DurationMS != 800 {
		t.Errorf("verify: %+v, %v; want ALLOW for 800 ms", r, err)
	}
	if r, err := c.RevokeDevice(ctx, api.RevokeDeviceRequest{AndroidDeviceID: android}); err != nil || r.DeviceID != registered.DeviceID {
		t.Errorf("revoke: %+v, %v", r, err)
	}
	if r, err := c.Verify(ctx, "gate-01", registered.Token); err != nil || r.Allowed() || r.Reason != "DEVICE_INACTIVE" {
		t.Errorf("verify after the revocation: %+v, %v; want DEVICE_INACTIVE", r, err)
	}
	devices, err := c.Devices(ctx)
	if err != nil || len(devices) == 0 || devices[0].ID != registered.DeviceID || devices[0].IsActive {
		t.Errorf("devices: %+v, %v", devices, err)
	}
	if _, err := c.RevokeDevice(ctx, api.RevokeDeviceRequest{DeviceID: 999}); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		t.Errorf("revoke an unknown device: %v, want 404", err)
	}
}

// checkLog looks for secrets in what the server logged, and for what a verify's line must say.
func (d *day) checkLog(log string) {
	d.t.Helper()
	for _, secret := range d.secrets {
		if strings.Contains(log, secret) {
			d.t.Errorf("the log holds %.8s…", secret)
		}
	}
	found := false
	for line := range strings.Lines(log) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) != nil || entry["path"] != api.PathVerify {
			continue
		}
		found = found || entry["gate"] == "gate-01" && entry["decision"] == "ALLOW" && entry["reason"] == "OK" && entry["status"] == 200.0
	}
	if !found {
		d.t.Errorf("the log has no line of the ALLOW at gate-01:\n%.2000s", log)
	}
}
