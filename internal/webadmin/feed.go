package webadmin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/eventlog"
)

// The live feed: server-sent events, each a few rows of HTML as the page itself has them, with the cursor to go on from as its id. A browser
// that lost the connection names the last one it has, so that nothing is missed and nothing comes twice.

const (
	// feedBeat is how often a silent stream says that it lives. At each, and before anything is shown, it is asked whether its session does.
	feedBeat = 15 * time.Second
	// feedPatience is how long a browser may take to read what it is sent.
	feedPatience = 10 * time.Second
	// mostStreams is how many a session may hold open: a tab each, more or less.
	mostStreams = 8
)

// streams counts the open streams of each session.
type streams struct {
	mu   sync.Mutex
	open map[int64]int
}

func (s *streams) take(session int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[session] >= mostStreams {
		return false
	}
	if s.open == nil {
		s.open = map[int64]int{}
	}
	s.open[session]++
	return true
}

func (s *streams) release(session int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[session]--; s.open[session] <= 0 {
		delete(s.open, session)
	}
}

// stream is one open feed.
type stream struct {
	a    *Admin
	v    *visit
	w    http.ResponseWriter
	ctrl *http.ResponseController
}

// eventStream sends what happens at the gates as it is recorded.
func (a *Admin) eventStream(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if !a.streams.take(v.session.ID) {
		a.failStatus(w, v, http.StatusTooManyRequests, "")
		return nil
	}
	defer a.streams.release(v.session.ID)

	cursor := r.Header.Get("Last-Event-ID")
	if cursor == "" {
		cursor = r.URL.Query().Get("after")
	}
	s := &stream{a: a, v: v, w: w, ctrl: http.NewResponseController(w)}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx hands each event on at once
	sub, err := a.feed.Subscribe(r.Context(), cursor)
	if err != nil {
		if errors.Is(err, eventlog.ErrCursorInvalid) || errors.Is(err, eventlog.ErrCursorOld) {
			return s.send("reset", "", "")
		}
		return err
	}
	defer sub.Close()
	if err := s.send("open", "", ""); err != nil {
		return nil //nolint:nilerr // the browser has gone
	}
	for {
		delivery, err := s.next(r.Context(), sub)
		if err != nil { // closed, too slow, or the database is away: the browser comes back with its cursor
			return nil //nolint:nilerr // see above
		}
		if alive, err := s.alive(r); err != nil || !alive { // before anything is shown: on a busy site it is never silent
			_ = s.send("end", "", "")
			return nil
		}
		if len(delivery.Events) == 0 {
			if s.comment() != nil {
				return nil
			}
			continue
		}
		rows, err := s.rows(r.Context(), delivery.Events)
		if err != nil {
			a.log.Warn("webadmin: the live feed ends: rows could not be drawn", "error", err)
			return nil
		}
		if s.send("rows", delivery.Cursor, rows) != nil {
			return nil
		}
	}
}

// next waits for events; an empty delivery says that none came for a while.
func (s *stream) next(ctx context.Context, sub *eventlog.Subscription) (eventlog.Delivery, error) {
	waiting, cancel := context.WithTimeout(ctx, feedBeat)
	defer cancel()
	d, err := sub.Next(waiting)
	if err != nil && ctx.Err() == nil && errors.Is(waiting.Err(), context.DeadlineExceeded) && errors.Is(err, context.DeadlineExceeded) {
		return eventlog.Delivery{}, nil
	}
	return d, err
}

// alive reports whether the session of the stream still is one.
func (s *stream) alive(r *http.Request) (bool, error) {
	c, err := r.Cookie(sessionCookie(s.v.secure))
	if err != nil {
		return false, nil //nolint:nilerr // no cookie, no session
	}
	_, _, err = s.a.desk.Session(r.Context(), c.Value)
	if errors.Is(err, access.ErrBadToken) {
		return false, nil
	}
	return err == nil, err
}

// rows draws events as the page does, newest first.
func (s *stream) rows(ctx context.Context, events []access.Event) (string, error) {
	newest := make([]access.Event, 0, len(events))
	for i := range events {
		newest = append(newest, events[len(events)-1-i])
	}
	named, err := s.a.desk.ObjectsOfEvents(ctx, newest)
	if err != nil {
		return "", err
	}
	page, err := s.a.pages.page(s.v.lang, "overview")
	if err != nil {
		return "", err
	}
	s.v.now = s.a.now()
	var b bytes.Buffer
	for _, row := range s.v.eventRows(newest, named) {
		if err := page.ExecuteTemplate(&b, "feed-row", row); err != nil {
			return "", fmt.Errorf("draw a row of the feed: %w", err)
		}
	}
	return b.String(), nil
}

// send writes one server-sent event.
func (s *stream) send(name, id, data string) error {
	var b strings.Builder
	b.WriteString("event: " + name + "\n")
	if id != "" {
		b.WriteString("id: " + id + "\n")
	}
	for line := range strings.SplitSeq(strings.ReplaceAll(data, "\r", ""), "\n") {
		b.WriteString("data: " + line + "\n")
	}
	b.WriteString("\n")
	return s.write(b.String())
}

// comment is a line that browsers pass over.
func (s *stream) comment() error { return s.write(": alive\n\n") }

func (s *stream) write(text string) error {
	if err := s.ctrl.SetWriteDeadline(time.Now().Add(feedPatience)); err != nil {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.ctrl.Flush()
}
