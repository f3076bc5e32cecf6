package server

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// ParseOrigin reads one origin as browsers send it: scheme://host or scheme://host:port, http or https. A closing slash is forgiven.
func ParseOrigin(s string) (string, error) {
	u, err := url.Parse(strings.ToLower(strings.TrimSpace(s)))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil ||
		(u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(u.Host, "*, ") {
		return "", fmt.Errorf("%q is not an origin such as https://app.example.org", s)
	}
	if (u.Scheme == "https" && u.Port() == "443") || (u.Scheme == "http" && u.Port() == "80") {
		u.Host = strings.TrimSuffix(u.Host, ":"+u.Port()) // browsers leave the default port out
	}
	return u.Scheme + "://" + u.Host, nil
}

// crossOrigin lets listed origins read the answer, with credentials. Others get no CORS header, so a browser keeps the answer from them.
func (s *Server) crossOrigin(h http.Header, r *http.Request) {
	if len(s.origins) == 0 {
		return
	}
	h["Vary"] = s.headers.vary // whether an Origin was sent or not: caches must keep the answers apart
	origin := r.Header["Origin"]
	if len(origin) != 1 {
		return
	}
	allow, ok := s.origins[origin[0]]
	if !ok {
		return
	}
	h["Access-Control-Allow-Origin"] = allow
	h["Access-Control-Allow-Credentials"] = s.headers.yes
	h["Access-Control-Expose-Headers"] = s.headers.exposed
}

// options answers OPTIONS on any path, preflight or not: 204, empty, Allow.
func (s *Server) options(w http.ResponseWriter, r *http.Request) {
	var methods []string
	switch {
	case probeOf(r.URL.Path) != noProbe:
		methods = []string{http.MethodGet, http.MethodHead}
	case s.allowed != nil:
		methods = slices.Clone(s.allowed(r.URL.Path))
	}
	if !slices.Contains(methods, http.MethodOptions) {
		methods = append(methods, http.MethodOptions)
	}
	allow := []string{strings.Join(methods, ", ")}
	h := w.Header()
	h["Allow"] = allow
	if h["Access-Control-Allow-Origin"] != nil && r.Header["Access-Control-Request-Method"] != nil {
		h["Access-Control-Allow-Methods"] = allow
		h["Access-Control-Allow-Headers"] = s.headers.preflightHeaders
		h["Access-Control-Max-Age"] = s.headers.preflightAge
	}
	w.WriteHeader(http.StatusNoContent)
}
