package goldentest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"testing"
)

// exchangeCase is a line of the corpus.
type exchangeCase struct {
	ID      string
	Setup   string
	Fresh   bool // starts from the seeded site; else follows the line before
	Request struct {
		Method  string
		Path    string
		Headers map[string]string
		Body    string
		BodyB64 string `json:"body_b64"`
	}
	Expect expectation
}

// expectation is what the answer must be. Of the forms of body one is given, or none.
type expectation struct {
	Status    int
	StatusAny []int           `json:"status_any"`
	Body      *string         // exact bytes; a trailing newline more is fine
	JSON      json.RawMessage // equal when parsed
	Keys      []string        // an object with exactly these keys
	Has       map[string]any  // an object that contains these
	Token     bool            // {"token": 40 hex}
	Header    map[string]string
}

// corpusSize is how many lines the corpus has: none may get lost.
const corpusSize = 305

func readCorpus(t testing.TB) []exchangeCase {
	t.Helper()
	f, err := os.Open("../../testdata/golden.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []exchangeCase
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c exchangeCase
		dec := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		if err := dec.Decode(&c); err != nil {
			t.Fatalf("golden.jsonl:%d: %v", len(out)+1, err)
		}
		out = append(out, c)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(out) != corpusSize {
		t.Fatalf("the corpus has %d lines, want %d", len(out), corpusSize)
	}
	return out
}

func (c exchangeCase) request(t testing.TB) request {
	t.Helper()
	body := []byte(c.Request.Body)
	if c.Request.BodyB64 != "" {
		b, err := base64.StdEncoding.DecodeString(c.Request.BodyB64)
		if err != nil {
			t.Fatalf("%s: body_b64: %v", c.ID, err)
		}
		body = b
	}
	return request{method: c.Request.Method, path: c.Request.Path, headers: c.Request.Headers, body: body}
}

// mismatch says in what an answer is not what the corpus wants, "" = in nothing.
func (e expectation) mismatch(method string, got response) string {
	if e.Status != 0 && got.status != e.Status {
		return fmt.Sprintf("status %d, want %d", got.status, e.Status)
	}
	if e.StatusAny != nil && !slices.Contains(e.StatusAny, got.status) {
		return fmt.Sprintf("status %d, want one of %v", got.status, e.StatusAny)
	}
	if e.Status == 0 && e.StatusAny == nil {
		return "the case wants no status"
	}
	for name, want := range e.Header {
		if v := got.header.Get(name); v != want {
			return fmt.Sprintf("header %s %q, want %q", name, v, want)
		}
	}
	if method == "HEAD" {
		return ""
	}
	if e.Body != nil {
		if g := bytes.TrimSuffix(got.body, []byte("\n")); string(g) != *e.Body {
			return fmt.Sprintf("body %q, want %q", g, *e.Body)
		}
	}
	if e.JSON == nil && e.Keys == nil && e.Has == nil && !e.Token {
		return ""
	}
	var parsed any
	if err := json.Unmarshal(got.body, &parsed); err != nil {
		return fmt.Sprintf("body is no JSON: %v", err)
	}
	if e.JSON != nil {
		var want any
		if err := json.Unmarshal(e.JSON, &want); err != nil {
			return err.Error()
		}
		if !reflect.DeepEqual(parsed, want) {
			return fmt.Sprintf("body %s, want %s", got.body, e.JSON)
		}
		return ""
	}
	object, ok := parsed.(map[string]any)
	if !ok {
		return fmt.Sprintf("body %s, want an object", got.body)
	}
	if e.Keys != nil {
		var keys []string
		for k := range object {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		if want := slices.Sorted(slices.Values(e.Keys)); !slices.Equal(keys, want) {
			return fmt.Sprintf("keys %v, want %v", keys, want)
		}
	}
	for k, want := range e.Has {
		if !reflect.DeepEqual(object[k], want) {
			return fmt.Sprintf("%s is %v, want %v", k, object[k], want)
		}
	}
	if e.Token {
		token, _ := object["token"].(string)
		if len(object) != 1 || !regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(token) {
			return fmt.Sprintf("body %s, want a token of 40 hex digits", got.body)
		}
	}
	return ""
}
