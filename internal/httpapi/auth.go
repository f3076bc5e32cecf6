package httpapi

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/openway-access/openway/api"
	"github.com/openway-access/openway/internal/access"
)

// signIn trades a user name and password for a token.
func (h *Handler) signIn(w http.ResponseWriter, r *http.Request) error {
	r, done := patient(r)
	defer done()
	address := clientAddress(r)
	if err := h.limits.tryAddress(address); err != nil {
		return err
	}
	var b body
	if err := h.decode(r, []string{"username", "password"}, &b); err != nil {
		return err
	}
	if err := mustBeObject(&b); err != nil {
		return err
	}
	in := input{body: &b}
	username, _ := in.text("username", textRule{})
	password, _ := in.text("password", textRule{untrimmed: true})
	if len(in.bad) > 0 {
		return in.bad
	}
	attempt, err := h.limits.tryName(address, username)
	if err != nil {
		return err
	}
	label := strings.ToValidUTF8(strings.TrimSpace(r.UserAgent()), "\ufffd")
	token, user, err := h.registry.Login(r.Context(), actor(r), username, password, label)
	switch {
	case err == nil:
		attempt.Succeeded()
	case !errors.Is(err, access.ErrBadLogin):
		attempt.Abandoned()
	}
	if err != nil {
		return err
	}
	addLogAttrs(w, slog.Int64("user_id", user.ID))
	return writeJSON(w, http.StatusOK, api.TokenResponse{Token: token})
}

// mustBeObject refuses JSON documents that are none.
func mustBeObject(b *body) error {
	switch b.root.kind {
	case object:
		return nil
	case null:
		return refusedDocument{phrase: sayNoData}
	}
	return refusedDocument{phrase: sayNotObject, args: []any{b.root.pythonName()}}
}
