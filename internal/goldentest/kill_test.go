package goldentest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

const (
	kills          = 20
	killClients    = 8
	answersToAKill = 40 // how many answers a server gives before it is killed, at least
)

// TestKilledUnderLoad kills the server with SIGKILL while clients ask, again and again: each answer that a client has got stands in the log, once.
func TestKilledUnderLoad(t *testing.T) {
	for _, engine := range []string{store.SQLite, store.Postgres} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			database := storetest.New(t, engine).DSN
			run(t, database, "apply", "-f", "../../testdata/site.yaml")
			var answered []string
			for round := range kills {
				answered = append(answered, killOnce(t, database, round)...)
			}
			counts := eventsByRequest(t, database)
			missing, twice := 0, 0
			for _, id := range answered {
				if counts[id] == 0 {
					missing++
				}
			}
			for _, n := range counts {
				if n > 1 {
					twice++
				}
			}
			if len(answered) < kills*answersToAKill || missing > 0 || twice > 0 {
				t.Errorf("%d answers: %d are not in the log, %d requests are in it more than once; want at least %d, 0, 0", len(answered), missing, twice, kills*answersToAKill)
			}
		})
	}
}

// killOnce starts a server, asks it from several clients, and kills it while they ask. It returns the request ids that were answered.
func killOnce(t *testing.T, database string, round int) []string {
	t.Helper()
	p, err := start(database, throttlesOff()...)
	if err != nil {
		t.Fatal(err)
	}
	var clients sync.WaitGroup
	var mu sync.Mutex
	var answered []string
	enough := make(chan struct{})
	for client := range killClients {
		clients.Go(func() {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			for n := 0; ; n++ {
				id := fmt.Sprintf("kill-%d-%d-%d", round, client, n)
				decision, err := askOnce(transport, p.address, id)
				if err != nil {
					return // the server is gone
				}
				if !strings.Contains(decision, `"decision":"ALLOW"`) {
					t.Errorf("%s: got %s, want ALLOW", id, decision)
					return
				}
				mu.Lock()
				answered = append(answered, id)
				if len(answered) == answersToAKill {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	done := make(chan struct{})
	go func() { clients.Wait(); close(done) }()
	select {
	case <-enough:
	case <-done: // it answers no more, or wrongly: the count will tell
	}
	if err := p.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	<-p.exited
	<-done
	return answered
}

func askOnce(transport http.RoundTripper, address, id string) (string, error) {
	const body = `{"gate_id":"gate-01","token":"d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2"}`
	req, err := http.NewRequest(http.MethodPost, "http://"+address+"/api/v1/access/verify", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Request-ID", id)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return string(answer), err
}

// eventsByRequest counts the events of each request id.
func eventsByRequest(t *testing.T, database string) map[string]int {
	t.Helper()
	ctx := context.Background()
	s, err := store.Open(ctx, store.Options{Database: database})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	counts := map[string]int{}
	for f := (access.EventFilter{Kind: access.DecisionEvent, Limit: 1000}); ; {
		page, err := s.Events(ctx, f)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return counts
		}
		for _, e := range page {
			counts[e.RequestID]++
		}
		f.Before = page[len(page)-1].ID
	}
}
