package server

import "testing"

func TestCORS(t *testing.T) {
	s := try(t, Config{
		CORSOrigins: []string{"https://app.example.org"},
		Allowed: func(path string) []string {
			if path == "/known" {
				return []string{"POST"}
			}
			return nil
		},
	})
	const origin, other = "https://app.example.org", "https://evil.test"
	for _, tt := range []struct {
		name, method, path string
		headers            []string
		status             int
		want               map[string]string // "" = must be absent
	}{
		{"listed", "GET", "/known", []string{"Origin", origin}, 200, map[string]string{
			"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true", "Access-Control-Expose-Headers": "X-Request-ID", "Vary": "Origin", "Access-Control-Allow-Methods": "",
		}},
		{"not listed", "GET", "/known", []string{"Origin", other}, 200, map[string]string{"Access-Control-Allow-Origin": "", "Access-Control-Allow-Credentials": "", "Vary": "Origin"}},
		{"null", "GET", "/known", []string{"Origin", "null"}, 200, map[string]string{"Access-Control-Allow-Origin": ""}},
		{"none", "GET", "/known", nil, 200, map[string]string{"Access-Control-Allow-Origin": "", "Vary": "Origin"}},
		{"two", "GET", "/known", []string{"Origin", origin, "Origin", other}, 200, map[string]string{"Access-Control-Allow-Origin": ""}},
		{"preflight", "OPTIONS", "/known", []string{"Origin", origin, "Access-Control-Request-Method", "POST"}, 204, map[string]string{
			"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Methods": "POST, OPTIONS", "Access-Control-Max-Age": "86400", "Allow": "POST, OPTIONS",
			"Access-Control-Allow-Headers": "Accept, Accept-Language, Authorization, Content-Type, X-OpenWay-Controller, X-Request-ID",
		}},
		{"preflight of another", "OPTIONS", "/known", []string{"Origin", other, "Access-Control-Request-Method", "POST"}, 204, map[string]string{
			"Access-Control-Allow-Origin": "", "Access-Control-Allow-Methods": "", "Allow": "POST, OPTIONS",
		}},
		{"OPTIONS alone", "OPTIONS", "/known", nil, 204, map[string]string{"Allow": "POST, OPTIONS", "Access-Control-Allow-Methods": ""}},
		{"OPTIONS of the unknown", "OPTIONS", "/nope", nil, 204, map[string]string{"Allow": "OPTIONS"}},
		{"OPTIONS of health", "OPTIONS", "/readyz", nil, 204, map[string]string{"Allow": "GET, HEAD, OPTIONS"}},
	} {
		w := s.do(tt.method, tt.path, tt.headers...)
		if w.Code != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, w.Code, tt.status)
		}
		if tt.status == 204 && w.Body.Len() > 0 {
			t.Errorf("%s: the body is %q", tt.name, w.Body)
		}
		for name, want := range tt.want {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", tt.name, name, got, want)
			}
		}
	}
	if w := try(t, Config{}).do("GET", "/", "Origin", origin); w.Header().Get("Vary") != "" {
		t.Error("Vary without any origin listed")
	}
}
