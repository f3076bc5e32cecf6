package httpapi

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/openway-access/openway/api"
)

// schema is the OpenAPI document in its two forms.
type schema struct {
	yaml []byte
	json []byte
}

func newSchema() schema {
	s := schema{yaml: []byte(api.OpenAPI())}
	var err error
	if s.json, err = yaml.YAMLToJSON(s.yaml); err != nil {
		panic("the OpenAPI document in this binary is no YAML: " + err.Error())
	}
	return s
}

// schemaDocument answers with the OpenAPI document: YAML unless JSON is asked for.
func (h *Handler) schemaDocument(w http.ResponseWriter, r *http.Request) error {
	b, mediaType := h.schema.yaml, "application/yaml; charset=utf-8"
	if wantsJSON(r) {
		b, mediaType = h.schema.json, "application/json"
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Header().Add("Vary", "Accept")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(b) // an error means that the client has gone
	return nil
}

// wantsJSON reports whether a request for the document prefers JSON to YAML: by ?format=, else by Accept.
func wantsJSON(r *http.Request) bool {
	switch r.URL.Query().Get("format") {
	case "json":
		return true
	case "yaml":
		return false
	}
	var jsonQ, yamlQ float64
	for _, header := range r.Header["Accept"] {
		for part := range strings.SplitSeq(header, ",") {
			mediaType, params, _ := strings.Cut(part, ";")
			switch strings.ToLower(strings.TrimSpace(mediaType)) {
			case "application/json", "application/vnd.oai.openapi+json":
				jsonQ = max(jsonQ, quality(params))
			case "application/yaml", "application/x-yaml", "text/yaml", "application/vnd.oai.openapi":
				yamlQ = max(yamlQ, quality(params))
			}
		}
	}
	return jsonQ > yamlQ
}
