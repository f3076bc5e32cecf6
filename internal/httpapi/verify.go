package httpapi

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/gatekeeper"
)

// turn is what one verify works with. Turns are used again and again: none of it may be held on to.
type turn struct {
	buf    bytes.Buffer
	body   body
	attrs  [4]slog.Attr
	answer [96]byte
}

// verify answers a door controller. It always answers in its own shape, also to what cannot be read.
func (h *Handler) verify(w http.ResponseWriter, r *http.Request) error {
	t := h.turns.Get().(*turn)
	defer h.turns.Put(t)
	address := clientAddress(r)
	if a, ok := h.gate.Admit(address, requestID(r)); !ok {
		h.answerGate(w, a, t)
		return nil
	}
	ask := h.readVerify(r, t)
	ask.Address, ask.RequestID, ask.At = address, requestID(r), h.now()
	// Not the request's context: the decision is recorded whether the controller still listens or not.
	h.answerGate(w, h.gate.Verify(context.Background(), ask), t)
	return nil
}

// readVerify reads the body of a verify. Whatever is wrong with it makes the request malformed.
func (h *Handler) readVerify(r *http.Request, t *turn) gatekeeper.Request {
	t.buf.Reset()
	if err := readBody(r, &t.buf); err != nil {
		return gatekeeper.Request{Malformed: true}
	}
	contentType := r.Header.Get("Content-Type")
	if contentType == "application/json" {
		if gate, token, ok := quickVerify(t.buf.Bytes()); ok {
			return gatekeeper.Request{Gate: string(gate), Token: string(token)}
		}
	}
	return parseVerify(t.buf.Bytes(), contentType, &t.body)
}

// parseVerify reads any body that may be sent to verify, with room for what is in it.
func parseVerify(data []byte, contentType string, b *body) gatekeeper.Request {
	if err := parseBody(data, contentType, verifyFields(), b); err != nil || b.root.kind != object {
		return gatekeeper.Request{Malformed: true}
	}
	in := input{body: b}
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
func (h *Handler) answerGate(w http.ResponseWriter, a gatekeeper.Answer, t *turn) {
	attrs := append(t.attrs[:0],
		slog.String("gate", a.Gate), slog.String("decision", string(a.Outcome)), slog.String("reason", string(a.Reason)))
	if a.UserID != 0 {
		attrs = append(attrs, slog.Int64("user_id", a.UserID))
	}
	addLogAttrs(w, attrs...)
	status := http.StatusOK
	if a.Reason == access.Unavailable {
		status = http.StatusServiceUnavailable
	}
	b := append(t.answer[:0], `{"decision":"`...)
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
	header["Content-Type"] = h.fixed.json
	header["Content-Length"] = h.fixed.length(len(b))
	if a.RetryAfter > 0 || status != http.StatusOK {
		header["Retry-After"] = []string{strconv.Itoa(seconds(a.RetryAfter))}
	}
	w.WriteHeader(status)
	_, _ = w.Write(b) // an error means that the controller has gone; the decision is recorded either way
}

// fixedHeaders are header values that verify answers with. Requests share them: nobody may write into them.
type fixedHeaders struct {
	json    []string
	lengths [96][]string
}

func newFixedHeaders() *fixedHeaders {
	f := &fixedHeaders{json: []string{"application/json"}}
	for n := range f.lengths {
		f.lengths[n] = []string{strconv.Itoa(n)}
	}
	return f
}

// length is the value of Content-Length.
func (f *fixedHeaders) length(n int) []string {
	if n < len(f.lengths) {
		return f.lengths[n]
	}
	return []string{strconv.Itoa(n)}
}
