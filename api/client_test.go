package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/openway-access/openway/api"
)

// A door asks about a token and opens only for ALLOW.
func ExampleClient_Verify() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"decision":"ALLOW","duration_ms":800,"reason":"OK"}`)
	}))
	defer server.Close()

	c := &api.Client{Base: server.URL} // such as https://door.example.org
	r, err := c.Verify(context.Background(), "gate-01", "a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3")
	if err != nil {
		fmt.Println("the gate stays shut:", err)
		return
	}
	fmt.Println(r.Allowed(), r.Reason, time.Duration(r.DurationMS)*time.Millisecond)
	// Output: true OK 800ms
}

// recorded is what a server was asked.
type recorded struct {
	method, path, authorization, language, contentType string
	body                                               map[string]any
}

// answering serves one answer and records what it was asked.
func answering(t *testing.T, status int, header, body string) (*api.Client, *recorded) {
	t.Helper()
	got := new(recorded)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*got = recorded{
			method: r.Method, path: r.URL.Path, authorization: r.Header.Get("Authorization"), language: r.Header.Get("Accept-Language"),
			contentType: r.Header.Get("Content-Type"),
		}
		if b, err := io.ReadAll(r.Body); err == nil && len(b) > 0 {
			if err := json.Unmarshal(b, &got.body); err != nil {
				t.Errorf("sent %q: %v", b, err)
			}
		}
		w.Header().Set("X-Request-ID", "r-1")
		if header != "" {
			w.Header().Set("Retry-After", header)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	return &api.Client{Base: server.URL + "/", Language: "ru"}, got
}

func TestClientSends(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	android, keep := "a-1", false
	for _, c := range []struct {
		name, answer string
		call         func(c *api.Client) (any, error)
		method, path string
		private      bool
		body         string
		want         any
	}{
		{
			"verify", `{"decision":"DENY","reason":"NEW_REASON"}`, func(c *api.Client) (any, error) { return c.Verify(ctx, "g", "t") },
			"POST", api.PathVerify, false, `{"gate_id":"g","token":"t"}`,
			api.VerifyResponse{Decision: "DENY", Reason: "NEW_REASON"},
		},
		{
			"sign in", `{"token":"abc"}`, func(c *api.Client) (any, error) { return c.SignIn(ctx, "u", " p ") },
			"POST", api.PathToken, false, `{"username":"u","password":" p "}`, "abc",
		},
		{
			"register", `{"device_id":7,"token":"abc","android_device_id":"a-1","qr_payload":"abc"}`, func(c *api.Client) (any, error) {
				return c.RegisterDevice(ctx, api.RegisterDeviceRequest{Rotate: &keep, AndroidDeviceID: &android})
			},
			"POST", api.PathRegisterDevice, true, `{"rotate":false,"android_device_id":"a-1"}`,
			api.RegisterDeviceResponse{DeviceID: 7, Token: "abc", AndroidDeviceID: "a-1", QRPayload: "abc"},
		},
		{
			"register as it comes", `{}`, func(c *api.Client) (any, error) { return c.RegisterDevice(ctx, api.RegisterDeviceRequest{}) },
			"POST", api.PathRegisterDevice, true, `{}`,
			api.RegisterDeviceResponse{},
		},
		{
			"revoke", `{"device_id":7,"is_active":false}`, func(c *api.Client) (any, error) { return c.RevokeDevice(ctx, api.RevokeDeviceRequest{DeviceID: 7}) },
			"POST", api.PathRevokeDevice, true, `{"device_id":7}`,
			api.RevokeDeviceResponse{DeviceID: 7},
		},
	} {
		client, got := answering(t, 200, "", c.answer)
		if c.private {
			client.Token = "key"
		}
		out, err := c.call(client)
		if err != nil || out != c.want {
			t.Errorf("%s: got %+v, %v; want %+v", c.name, out, err, c.want)
		}
		authorization := ""
		if c.private {
			authorization = "Token key"
		}
		var body map[string]any
		if err := json.Unmarshal([]byte(c.body), &body); err != nil {
			t.Fatal(err)
		}
		if got.method != c.method || got.path != c.path || got.authorization != authorization || got.language != "ru" ||
			got.contentType != "application/json" || fmt.Sprint(got.body) != fmt.Sprint(body) {
			t.Errorf("%s: sent %+v", c.name, got)
		}
	}
}

func TestClientListsDevices(t *testing.T) {
	t.Parallel()
	client, got := answering(t, 200, "", `[{"id":2,"android_device_id":"","is_active":true,"token_preview":"…"}]`)
	client.Token = "key"
	out, err := client.Devices(context.Background())
	if err != nil || len(out) != 1 || out[0] != (api.Device{ID: 2, IsActive: true, TokenPreview: "…"}) {
		t.Errorf("got %+v, %v", out, err)
	}
	if got.method != "GET" || got.contentType != "" || got.authorization != "Token key" {
		t.Errorf("sent %+v", got)
	}
}

func TestClientErrors(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	client, _ := answering(t, 503, "2", `{"decision":"DENY","reason":"UNAVAILABLE"}`)
	if r, err := client.Verify(ctx, "g", "t"); err != nil || r.Allowed() || r.Reason != "UNAVAILABLE" {
		t.Errorf("verify while unavailable: %+v, %v; want a denial", r, err)
	}
	for _, c := range []struct {
		status        int
		header, body  string
		detail, field string
		retry         time.Duration
	}{
		{429, "42", `{"detail":"Slow down"}`, "Slow down", "", 42 * time.Second},
		{400, "", `{"username":["Required."]}`, "", "Required.", 0},
		{502, "", `<html>bad gateway</html>`, "<html>bad gateway</html>", "", 0},
		{500, "soon", ``, "", "", 0},
	} {
		client, _ := answering(t, c.status, c.header, c.body)
		_, err := client.SignIn(ctx, "u", "p")
		var e *api.Error
		if !errors.As(err, &e) {
			t.Errorf("%d %s: got %v, want an *api.Error", c.status, c.body, err)
			continue
		}
		field := ""
		if len(e.Fields["username"]) > 0 {
			field = e.Fields["username"][0]
		}
		if e.Status != c.status || e.Detail != c.detail || field != c.field || e.RetryAfter != c.retry || e.RequestID != "r-1" {
			t.Errorf("%d %s: got %+v", c.status, c.body, e)
		}
		if client.Token != "" {
			t.Errorf("%d: the client took %q for a token", c.status, client.Token)
		}
	}
	client, _ = answering(t, 200, "", `<html>`)
	if _, err := client.Verify(ctx, "g", "t"); err == nil {
		t.Error("an answer that is no JSON was taken")
	}
	if _, err := client.RevokeDevice(ctx, api.RevokeDeviceRequest{}); !errors.Is(err, api.ErrNoToken) {
		t.Errorf("revoke without a token: %v, want ErrNoToken", err)
	}
}
