package drill

import (
	"testing"
	"time"

	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// between is how many requests begin between two blows.
const between = 60

// TestServerKilled kills a server with SIGKILL while clients ask and rights are taken away, again and again. On PostgreSQL a second server goes on
// meanwhile.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			database := empty(t, engine)
			rounds := long(6, 200)
			list := people(t, database, rounds*4)
			options := processtest.Options{Database: database, Env: processtest.ThrottlesOff(), Brief: true}
			mortal, err := processtest.Start(options)
			if err != nil {
				t.Fatal(err)
			}
			addresses := []string{mortal.Address}
			if engine == store.Postgres {
				addresses = append(addresses, processtest.Serve(t, options).Address)
			}
			d := startDrill(t, database, list, 40*time.Millisecond, addresses...)
			for range rounds {
				d.more(between)
				mortal.Kill()
				d.servers[0].Store(nil)
				if mortal, err = processtest.Start(options); err != nil {
					t.Fatal(err)
				}
				d.servers[0].Store(&mortal.Address)
			}
			d.more(between)
			d.finish()
			mortal.Stop(t)
			t.Logf("%d kills", rounds)
			d.check(false)
			if engine == store.SQLite {
				sound(t, database)
			}
		})
	}
}
