package api

import _ "embed"

//go:embed openapi.yaml
var document string

// OpenAPI returns the OpenAPI document as YAML.
func OpenAPI() string { return document }
