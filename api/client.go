package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Client calls a server's API. Its methods may be called at the same time, as long as nobody changes its fields.
type Client struct {
	Base     string       // such as "https://door.example.org", without a path
	Token    string       // of a signed-in user, for the methods that need one; SignIn sets it
	Language string       // of error texts, "en" or "ru"; "" leaves it to the server
	HTTP     *http.Client // nil = one with a time-out of 7 s, as the door controllers have
}

// Error is an answer other than 200.
type Error struct {
	Status     int                 // HTTP status
	Detail     string              // what is wrong with the request as a whole, if the server said so
	Fields     map[string][]string // what is wrong with each field; "non_field_errors" for what concerns several
	RetryAfter time.Duration       // when trying again may help; 0 = the server did not say
	RequestID  string              // to find the request in the server's log
}

func (e *Error) Error() string {
	text := e.Detail
	if text == "" {
		var parts []string
		for field, texts := range e.Fields {
			parts = append(parts, field+": "+strings.Join(texts, " "))
		}
		text = strings.Join(parts, "; ")
	}
	return fmt.Sprintf("HTTP %d: %s (request %s)", e.Status, text, e.RequestID)
}

// ErrNoToken is returned by methods that need a signed-in user when Client.Token is empty.
var ErrNoToken = errors.New("sign in first: the client has no token")

// Verify asks whether a token opens a gate. A denial is an answer, not an error; that holds for UNAVAILABLE too,
// which the server gives with status 503.
func (c *Client) Verify(ctx context.Context, gate, token string) (VerifyResponse, error) {
	var out VerifyResponse
	err := c.call(ctx, http.MethodPost, PathVerify, "", VerifyRequest{GateID: gate, Token: token}, &out)
	var e *Error
	if errors.As(err, &e) && out.Decision != "" {
		return out, nil
	}
	return out, err
}

// SignIn trades a user name and password for a token, and keeps it in c.Token.
func (c *Client) SignIn(ctx context.Context, username, password string) (string, error) {
	var out TokenResponse
	if err := c.call(ctx, http.MethodPost, PathToken, "", TokenRequest{Username: username, Password: password}, &out); err != nil {
		return "", err
	}
	c.Token = out.Token
	return out.Token, nil
}

// RegisterDevice registers the caller's phone.
func (c *Client) RegisterDevice(ctx context.Context, in RegisterDeviceRequest) (RegisterDeviceResponse, error) {
	var out RegisterDeviceResponse
	err := c.private(ctx, http.MethodPost, PathRegisterDevice, in, &out)
	return out, err
}

// Devices lists the caller's phones, newest first.
func (c *Client) Devices(ctx context.Context) ([]Device, error) {
	var out []Device
	err := c.private(ctx, http.MethodGet, PathDevices, nil, &out)
	return out, err
}

// RevokeDevice makes one of the caller's phones inactive. Doing it again changes nothing and is no error.
func (c *Client) RevokeDevice(ctx context.Context, in RevokeDeviceRequest) (RevokeDeviceResponse, error) {
	var out RevokeDeviceResponse
	err := c.private(ctx, http.MethodPost, PathRevokeDevice, in, &out)
	return out, err
}

func (c *Client) private(ctx context.Context, method, path string, in, out any) error {
	if c.Token == "" {
		return fmt.Errorf("%s %s: %w", method, path, ErrNoToken)
	}
	return c.call(ctx, method, path, "Token "+c.Token, in, out)
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 4 << 20

func (c *Client) call(ctx context.Context, method, path, authorization string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.Base, "/")+path, body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	if c.Language != "" {
		req.Header.Set("Accept-Language", c.Language)
	}
	client := c.HTTP
	if client == nil {
		client = &http.Client{Timeout: 7 * time.Second}
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is lost: the body has been read
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = json.Unmarshal(answer, out) // a 503 of verify still holds a decision; anything else leaves out as it is
		return fmt.Errorf("%s %s: %w", method, path, readError(resp, answer))
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return nil
}

func readError(resp *http.Response, body []byte) *Error {
	e := &Error{Status: resp.StatusCode, RequestID: resp.Header.Get("X-Request-ID")}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	var d Detail
	if json.Unmarshal(body, &d) == nil && d.Detail != "" {
		e.Detail = d.Detail
		return e
	}
	if json.Unmarshal(body, &e.Fields) != nil {
		e.Fields = nil
		e.Detail = strings.TrimSpace(string(body[:min(len(body), 200)]))
	}
	return e
}
