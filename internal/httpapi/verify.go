package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/gatekeeper"
)

// verify answers a door controller. It always answers in its own shape, also to what cannot be read.
func (h *Handler) verify(w http.ResponseWriter, r *http.Request) error {
	address := clientAddress(r)
	if a, ok := h.gate.Admit(address, requestID(r)); !ok {
		answerGate(w, a)
		return nil
	}
	ask := h.readVerify(r)
	ask.Address, ask.RequestID, ask.At = address, requestID(r), h.now()
	answerGate(w, h.gate.Verify(context.WithoutCancel(r.Context()), ask)) // recorded, whether the controller still listens or not
	return nil
}

// readVerify reads the body of a verify. Whatever is wrong with it makes the request malformed.
func (h *Handler) readVerify(r *http.Request) gatekeeper.Request {
	var b body
	if err := h.decode(r, verifyFields(), &b); err != nil || b.root.kind != object {
		return gatekeeper.Request{Malformed: true}
	}
	in := input{body: &b}
	gate, ok := in.text("gate_id", textRule{})
	if !ok {
		gate = ""
	}
	token, _ := in.text("token", textRule{longest: access.MaxToken})
	if len(in.bad) > 0 || utf8.RuneCountInString(token) < access.MinToken {
		return gatekeeper.Request{Malformed: true, Presented: gate}
	}
	return gatekeeper.Request{Gate: gate, Token: token}
}

func verifyFields() []string { return []string{"gate_id", "token"} }

// answerGate writes the decision: compact, in this order of keys, as controllers search for bytes.
func answerGate(w http.ResponseWriter, a gatekeeper.Answer) {
	addLogAttrs(w,
		slog.String("gate", a.Gate), slog.String("decision", string(a.Outcome)), slog.String("reason", string(a.Reason)))
	if a.UserID != 0 {
		addLogAttrs(w, slog.Int64("user_id", a.UserID))
	}
	status := http.StatusOK
	if a.Reason == access.Unavailable {
		status = http.StatusServiceUnavailable
	}
	var room [96]byte
	b := append(room[:0], `{"decision":"`...)
	b = append(b, a.Outcome...)
	if a.Outcome == access.Allow {
		b = append(b, `","duration_ms":`...)
		b = strconv.AppendInt(b, int64(a.ReleaseMS), 10)
		b = append(b, `,"reason":"`...)
	} else {
		b = append(b, `","reason":"`...)
	}
	b = append(b, a.Reason...)
	b = append(b, `"}`...)
	header := w.Header()
	header["Content-Type"] = []string{"application/json"}
	header["Content-Length"] = []string{strconv.Itoa(len(b))}
	if a.RetryAfter > 0 || status != http.StatusOK {
		header["Retry-After"] = []string{strconv.Itoa(seconds(a.RetryAfter))}
	}
	w.WriteHeader(status)
	_, _ = w.Write(b) // an error means that the controller has gone; the decision is recorded either way
}
