package webadmin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// errForged is a form that another site has sent.
var errForged = errors.New("a form from another site")

// errorPage says that something went wrong, in the clothes of the other pages.
type errorPage struct {
	frame
	Code int
	Text string // what happened
	Hint string // what to do
	Back string // where to go
}

// fail is the one place where errors of handlers become pages. Forms that can be mended are not errors here: their handlers show them again.
func (a *Admin) fail(w http.ResponseWriter, r *http.Request, v *visit, err error) {
	var tooLarge *http.MaxBytesError
	status, hint := http.StatusInternalServerError, ""
	switch {
	case errors.Is(err, errForged):
		status, hint = http.StatusForbidden, v.t("error.forged")
	case errors.Is(err, registry.ErrLastOwner):
		status, hint = http.StatusConflict, v.t("error.last_owner")
	case errors.Is(err, access.ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, access.ErrDenied):
		status = http.StatusForbidden
	case errors.Is(err, access.ErrConflict):
		status = http.StatusConflict
	case errors.As(err, &tooLarge):
		status = http.StatusRequestEntityTooLarge
	case errors.As(err, new(access.Invalid)), errors.Is(err, errBadForm):
		status = http.StatusBadRequest
	case errors.Is(err, access.ErrOutcomeUnknown):
		status, hint = http.StatusServiceUnavailable, v.t("error.outcome_unknown")
	case errors.Is(err, access.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		status = http.StatusServiceUnavailable
	case errors.Is(err, context.Canceled) && r.Context().Err() != nil: // the reader has gone; nobody sees the page
		status = http.StatusServiceUnavailable
	}
	if status >= 500 {
		a.log.ErrorContext(r.Context(), "a page failed", slog.String("request_id", v.requestID), slog.String("method", r.Method),
			slog.String("path", r.URL.Path), slog.Any("error", err))
	}
	if wantsJSON(r) {
		comeAgain(w, status)
		text, hint := v.failure(status, hint)
		if status >= 500 {
			hint += " " + v.t("error.request_id") + ": " + v.requestID
		}
		_ = answerJSON(w, status, refusal{Text: text + ". " + hint}) // an error means that the reader has gone
		return
	}
	a.failStatus(w, v, status, hint)
}

// refusal is what a script is told that asked for what cannot be done.
type refusal struct {
	Text string `json:"text"`
	To   string `json:"to,omitempty"` // where to go on
}

// wantsJSON reports whether a script asks, which shows the answer in a place of its own.
func wantsJSON(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "application/json")
}

// answerJSON answers a script.
func answerJSON(w http.ResponseWriter, status int, answer any) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(answer)
}

// failure is a status in words: what happened, and what to do. hint "" = what is usual for it.
func (v *visit) failure(status int, hint string) (text, todo string) {
	key := strconv.Itoa(status)
	if _, ok := catalogue()["error."+key]; !ok {
		key = "400"
	}
	if hint == "" {
		hint = v.t("error." + key + ".hint")
	}
	return v.t("error." + key), hint
}

// retryAfter is when a page that could not be made may be asked for again.
const retryAfter = 5 * time.Second

func comeAgain(w http.ResponseWriter, status int) {
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
	}
}

// failStatus answers with the page of a status. hint "" = what is usual for it.
func (a *Admin) failStatus(w http.ResponseWriter, v *visit, status int, hint string) {
	text, hint := v.failure(status, hint)
	comeAgain(w, status)
	p := &errorPage{frame: v.frame("", text), Code: status, Text: text, Hint: hint, Back: "/admin/"}
	p.Status = status
	if err := a.render(w, "error", p); err != nil {
		a.log.Error("the page of an error failed", slog.String("request_id", v.requestID), slog.Any("error", err))
		http.Error(w, http.StatusText(status), status)
	}
}

// notThere reports whether err says that something does not exist.
func notThere(err error) bool { return errors.Is(err, access.ErrNotFound) }
