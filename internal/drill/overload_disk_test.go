//go:build drill

package drill

import (
	"testing"
	"time"

	"github.com/openway-access/openway/internal/processtest"
)

// TestOverloadOfTheDisk offers four times the top rate where the disk is what bounds it: the processors have the time to answer whoever is one too
// many, and so many connections are open that the queue fills.
func TestOverloadOfTheDisk(t *testing.T) {
	slow := processtest.NewPostgres(t, "", "fsync = on", "commit_delay = 100000", "commit_siblings = 0") // a tenth of a second each
	list := people(t, slow.URL(), 50)
	server := processtest.Serve(t, processtest.Options{Database: slow.URL(), Env: processtest.ThrottlesOff(), Brief: true})
	const lasts = 10 * time.Second
	top := push{address: server.Address, people: list, conns: 1024, lasts: lasts}.run(t)
	over := push{address: server.Address, people: list, conns: 8000, rate: 4 * top.rate(), lasts: lasts}.run(t)
	after := push{address: server.Address, people: list, conns: 1024, lasts: time.Second}.run(t)

	t.Logf("top %.0f/s (1,024 callers), p99 %v; offered %.0f/s: accepted %.0f/s, p50 %v, p99 %v (%.1f x); %d answered 503, p50 %v, p99 %v; %d found every connection busy; in the next second %.0f/s, p99 %v",
		top.rate(), at(top.accepted, 0.99), over.offered(), over.rate(), at(over.accepted, 0.5), at(over.accepted, 0.99), slower(over, top),
		len(over.refused), at(over.refused, 0.5), at(over.refused, 0.99), over.short, after.rate(), at(after.accepted, 0.99))
	withstood(t, top, over, after)
	if len(top.refused) > 0 {
		t.Errorf("%d were refused before", len(top.refused))
	}
	if len(over.refused) == 0 {
		t.Error("nobody was refused: the queue did not fill")
	}
	if at(over.refused, 0.5) > at(over.accepted, 0.5)/2 {
		t.Errorf("a 503 takes %v, as long as what is accepted (%v); want it at once", at(over.refused, 0.5), at(over.accepted, 0.5))
	}
	if kept := over.rate() / top.rate(); kept < 0.7 {
		t.Errorf("of the top rate %.2f is left in the overload; want most of it", kept)
	}
}
