package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/openway-access/openway/internal/storetest"
)

// TestServingLeavesNothingBehind: when a server has ended and its installation is closed, no goroutine of it is left.
func TestServingLeavesNothingBehind(t *testing.T) {
	t.Setenv(secretKeyName, testKey)
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			database := storetest.New(t, engine).DSN
			before := goleak.IgnoreCurrent()
			log := slog.New(slog.DiscardHandler)
			in, err := openInstallation(t.Context(), &settings{Database: database}, openOptions{serving: true, log: log})
			if err != nil {
				t.Fatal(err)
			}
			plan, err := (&serveSettings{Listen: "127.0.0.1:0"}).plan()
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			address, ended := make(chan net.Addr, 1), make(chan error, 1)
			go func() {
				ended <- serving{plan: plan, log: log, listening: func(a net.Addr) { address <- a }}.run(ctx, in)
			}()
			var base string
			select {
			case a := <-address:
				base = "http://" + a.String()
			case err := <-ended:
				t.Fatalf("it did not listen: %v", err)
			}
			transport := &http.Transport{}
			client := &http.Client{Transport: transport}
			for path, body := range map[string]string{
				"/api/v1/access/verify": `{"gate_id":"none","token":"0123456789"}`,
				"/api/v1/auth/token":    `{"username":"nobody","password":"wrong"}`,
				"/readyz":               ``,
			} {
				resp, err := client.Post(base+path, "application/json", strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
			}
			transport.CloseIdleConnections()
			stop()
			if err := <-ended; err != nil {
				t.Errorf("serving ended with: %v", err)
			}
			if err := in.close(); err != nil {
				t.Errorf("close: %v", err)
			}
			goleak.VerifyNone(t, before)
		})
	}
}
