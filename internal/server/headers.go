package server

import "net/http"

// fixedHeaders are header values that never change. Requests share the slices: nobody may write into them (Header.Set and Add do not).
type fixedHeaders struct {
	nosniff, deny, sameOrigin, hsts  []string
	close, https, vary, yes, exposed []string
	preflightHeaders, preflightAge   []string
	jsonType, noStore                []string
}

func newFixedHeaders() fixedHeaders {
	one := func(s string) []string { return []string{s} }
	return fixedHeaders{
		nosniff: one("nosniff"), deny: one("DENY"), sameOrigin: one("same-origin"),
		hsts:  one("max-age=31536000"), // a year, this host alone: subdomains are not ours to speak for
		close: one("close"), https: one("https"), vary: one("Origin"), yes: one("true"), exposed: one("X-Request-ID"),
		preflightHeaders: one("Accept, Accept-Language, Authorization, Content-Type, X-OpenWay-Controller, X-Request-ID"),
		preflightAge:     one("86400"),
		jsonType:         one("application/json"), noStore: one("no-store"),
	}
}

// secure sets what every answer carries. Pages set their own Content-Security-Policy.
func (s *Server) secure(h http.Header, https bool) {
	h["X-Content-Type-Options"] = s.headers.nosniff
	h["X-Frame-Options"] = s.headers.deny
	h["Referrer-Policy"] = s.headers.sameOrigin
	if https {
		h["Strict-Transport-Security"] = s.headers.hsts
	}
}
