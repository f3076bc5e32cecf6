package httpapi

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/swaggest/swgui/v5/static"
)

// docsPolicy lets the page load what this server serves and nothing else: no inline script or style, no other host.
// data: is for the icons in Swagger UI's style sheet.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

//go:embed docs.html
var docsHTML []byte

//go:embed docs.js
var docsScript []byte

// docsPage answers with Swagger UI's page.
func (h *Handler) docsPage(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Security-Policy", docsPolicy)
	serveStatic(w, "text/html; charset=utf-8", docsHTML)
	return nil
}

// docsScriptFile answers with the script that starts Swagger UI.
func docsScriptFile(w http.ResponseWriter, _ *http.Request) error {
	serveStatic(w, "text/javascript; charset=utf-8", docsScript)
	return nil
}

// docsIcon answers with the page's icon.
func docsIcon(w http.ResponseWriter, _ *http.Request) error {
	b, err := static.FS.ReadFile("favicon-32x32.png")
	if err != nil {
		return fmt.Errorf("read Swagger UI's icon: %w", err)
	}
	serveStatic(w, "image/png", b)
	return nil
}

// docsPacked answers with a file that Swagger UI's package holds gzipped.
func docsPacked(name, mediaType string) func(w http.ResponseWriter, r *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		b, err := static.FS.ReadFile(name + ".gz")
		if err != nil {
			return fmt.Errorf("read Swagger UI's %s: %w", name, err)
		}
		w.Header().Add("Vary", "Accept-Encoding")
		if acceptsGzip(r) {
			w.Header().Set("Content-Encoding", "gzip")
		} else if b, err = unpack(b); err != nil {
			return fmt.Errorf("unpack Swagger UI's %s: %w", name, err)
		}
		serveStatic(w, mediaType, b)
		return nil
	}
}

func unpack(b []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func acceptsGzip(r *http.Request) bool {
	for _, header := range r.Header["Accept-Encoding"] {
		for part := range strings.SplitSeq(header, ",") {
			coding, params, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(coding), "gzip") && quality(params) > 0 {
				return true
			}
		}
	}
	return false
}

func serveStatic(w http.ResponseWriter, mediaType string, b []byte) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Cache-Control", "public, max-age=3600")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(b) // an error means that the client has gone
}
