package goldentest

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/openway-access/openway/api"
)

// contract is the OpenAPI document that answers are held against.
type contract struct{ doc *openapi3.T }

func readContract(t testing.TB) contract {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData([]byte(api.OpenAPI()))
	if err != nil {
		t.Fatalf("openapi.yaml: %v", err)
	}
	if err := doc.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		t.Fatalf("openapi.yaml is not valid: %v", err)
	}
	return contract{doc}
}

func TestDocumentIsValid(t *testing.T) {
	t.Parallel()
	readContract(t)
}

// mismatch says in what an answer is not what the document describes, "" = in nothing.
func (c contract) mismatch(method, path string, got response) string {
	path, _, _ = strings.Cut(strings.TrimPrefix(path, "http://openway.test"), "?")
	path = strings.Replace(path, "%76", "v", 1)
	if !c.hasRequestID(got) {
		return fmt.Sprintf("X-Request-ID is %q", got.header.Get("X-Request-ID"))
	}
	if method == http.MethodOptions {
		if got.status != http.StatusNoContent || len(got.body) > 0 || got.header.Get("Allow") == "" {
			return fmt.Sprintf("OPTIONS answers %d with Allow %q and a body of %d bytes", got.status, got.header.Get("Allow"), len(got.body))
		}
		return ""
	}
	item := c.doc.Paths.Value(path)
	if item == nil {
		if got.status == http.StatusNotFound && method != http.MethodHead && !strings.HasPrefix(path, "/admin/") { // those are pages
			return c.matches(c.doc.Components.Schemas["Detail"].Value, got.body)
		}
		return ""
	}
	op := item.GetOperation(knownMethod(item, method))
	if op == nil {
		if got.status != http.StatusMethodNotAllowed && got.status != http.StatusUnauthorized {
			return fmt.Sprintf("%s is not described, but answers %d", method, got.status)
		}
		for _, other := range item.Operations() {
			op = other
		}
	}
	described := op.Responses.Value(strconv.Itoa(got.status))
	if described == nil {
		return fmt.Sprintf("status %d is not described", got.status)
	}
	for name, h := range described.Value.Headers {
		v := got.header.Get(name)
		if v == "" {
			if h.Value.Required {
				return "header " + name + " is missing"
			}
			continue
		}
		var typed any = v
		if h.Value.Schema.Value.Type.Is("integer") {
			n, err := strconv.ParseFloat(v, 64)
			if err != nil {
				return fmt.Sprintf("header %s: %v", name, err)
			}
			typed = n
		}
		if err := h.Value.Schema.Value.VisitJSON(typed); err != nil {
			return fmt.Sprintf("header %s: %v", name, err)
		}
	}
	if method == http.MethodHead {
		if len(got.body) > 0 {
			return "HEAD answers with a body"
		}
		return ""
	}
	mediaType, _, err := mime.ParseMediaType(got.header.Get("Content-Type"))
	if err != nil {
		return fmt.Sprintf("Content-Type %q: %v", got.header.Get("Content-Type"), err)
	}
	content := described.Value.Content.Get(mediaType)
	if content == nil {
		return fmt.Sprintf("%s is not described for status %d", mediaType, got.status)
	}
	if mediaType != "application/json" {
		return ""
	}
	return c.matches(content.Schema.Value, got.body)
}

// knownMethod is the method under which the document describes an answer: HEAD stands with GET.
func knownMethod(item *openapi3.PathItem, method string) string {
	if method == http.MethodHead && item.Head == nil {
		return http.MethodGet
	}
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodHead, http.MethodPatch:
		return method
	}
	return http.MethodTrace // described nowhere; kin-openapi panics for methods that it does not know
}

func (c contract) matches(s *openapi3.Schema, body []byte) string {
	var parsed any
	if err := json.Unmarshal(body, &parsed); err != nil {
		return fmt.Sprintf("body %q is no JSON: %v", body, err)
	}
	if err := s.VisitJSON(parsed); err != nil {
		return fmt.Sprintf("body %s: %v", body, err)
	}
	return ""
}

func (c contract) hasRequestID(got response) bool {
	h := c.doc.Components.Headers["XRequestID"].Value.Schema.Value
	return h.VisitJSON(got.header.Get("X-Request-ID")) == nil
}
