package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/openway-access/openway/internal/registry"
)

// tokenOf reads the key of an Authorization header, "Token <key>": the word in any case, any ASCII white space around. Several headers
// count as one joined by commas, as HTTP has it, so two of them are never a key.
func tokenOf(headers []string) (string, error) {
	words := strings.FieldsFunc(strings.Join(headers, ","), func(r rune) bool {
		return r == ' ' || '\t' <= r && r <= '\r'
	})
	switch {
	case len(words) == 0 || !strings.EqualFold(words[0], "token"):
		return "", refuse(http.StatusUnauthorized, sayNoCredentials)
	case len(words) == 1:
		return "", refuse(http.StatusUnauthorized, sayEmptyHeader)
	case len(words) > 2:
		return "", refuse(http.StatusUnauthorized, saySpaces)
	}
	for i := range len(words[1]) {
		if words[1][i] >= 0x80 {
			return "", refuse(http.StatusUnauthorized, sayCharacters)
		}
	}
	return words[1], nil
}

// authenticate says who calls, or why nobody in particular does.
func (h *Handler) authenticate(w http.ResponseWriter, r *http.Request) (registry.Caller, error) {
	token, err := tokenOf(r.Header["Authorization"])
	if err != nil {
		return registry.Caller{}, err
	}
	caller, err := h.registry.Authenticate(r.Context(), token)
	if err != nil {
		return registry.Caller{}, err
	}
	addLogAttrs(w, slog.Int64("user_id", caller.User.ID))
	return caller, nil
}

type callerKey struct{}

func withCaller(r *http.Request, c registry.Caller) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, c))
}

// callerOf is who calls a private route. On a public one it is nobody.
func callerOf(r *http.Request) registry.Caller {
	c, _ := r.Context().Value(callerKey{}).(registry.Caller)
	return c
}
