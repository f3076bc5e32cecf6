package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestPace: some are told at once in each second, and each of the others a second later, but only so many of them.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		took := func(ctx context.Context) time.Duration {
			begun := time.Now()
			p.wait(ctx)
			return time.Since(begun)
		}
		for range 3 {
			for i := range toldAtOnce {
				if d := took(t.Context()); d != 0 {
					t.Fatalf("number %d of a second waited %v; want none of the first %d to", i+1, d, toldAtOnce)
				}
			}
			gone, leave := context.WithCancel(t.Context())
			leave()
			if d := took(gone); d != 0 {
				t.Fatalf("one who has gone was waited for %v", d)
			}
			if d := took(t.Context()); d != heldFor {
				t.Fatalf("one more waited %v; want %v", d, heldFor)
			}
		}
		p.told, p.second = toldAtOnce, time.Now()
		var wg sync.WaitGroup
		for range mostHeld {
			wg.Go(func() { p.wait(t.Context()) })
		}
		synctest.Wait()
		if d := took(t.Context()); d != 0 {
			t.Errorf("with %d held one more waited %v; want none", mostHeld, d)
		}
		wg.Wait()
		if n := p.held.Load(); n != 0 {
			t.Errorf("%d are still held in the end", n)
		}
	})
}

// TestWhatIsPaced: answers that turn away, but not those to gates, nor what health says.
func TestWhatIsPaced(t *testing.T) {
	s, err := New(Config{
		Plain: []string{"/v"}, Ready: func(context.Context) error { return context.DeadlineExceeded },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			status := http.StatusServiceUnavailable
			switch r.URL.Path {
			case "/many":
				status = http.StatusTooManyRequests
			case "/fault":
				status = http.StatusInternalServerError
			}
			w.WriteHeader(status)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path string
		status       int
		paced        bool
	}{
		{"POST", "/x", 503, true},
		{"GET", "/many", 429, true},
		{"GET", "/fault", 500, false},
		{"POST", "/v", 503, false},
		{"GET", "/readyz", 503, false},
	} {
		before := s.pace.told
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, httptest.NewRequest(c.method, c.path, strings.NewReader("")))
		if paced := s.pace.told > before; rec.Code != c.status || paced != c.paced {
			t.Errorf("%s %s: got %d, paced %v; want %d, %v", c.method, c.path, rec.Code, paced, c.status, c.paced)
		}
	}
}
