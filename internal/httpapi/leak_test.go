package httpapi

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openway-access/openway/api"
	"github.com/openway-access/openway/internal/server"
)

// What clients do, also those that go away in the middle, leaves no goroutine behind once the server has ended.
func TestNothingIsLeftRunning(t *testing.T) {
	if _, err := seeded(); err != nil { // what the site is made with may rest a while
		t.Fatal(err)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	before := runtime.NumGoroutine()
	t.Run("a busy while", func(t *testing.T) {
		front := newFront(t)
		s, err := server.New(server.Config{Handler: front, Plain: []string{api.PathVerify}, DrainGrace: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx, l) }()
		const header = "POST /api/v1/access/verify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 80\r\n\r\n"
		body := controllerAsks + strings.Repeat(" ", 80-len(controllerAsks))
		var callers sync.WaitGroup
		for i := range 40 {
			callers.Go(func() {
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				in := bufio.NewReader(c)
				for range 25 {
					_, _ = io.WriteString(c, header+body)
					answer, err := http.ReadResponse(in, nil)
					if err != nil || answer.StatusCode != 200 {
						t.Errorf("got %v, %v", answer, err)
						return
					}
					_, _ = io.Copy(io.Discard, answer.Body)
				}
				switch i % 4 { // and then it
				case 0: // stops in the middle of a header,
					_, _ = io.WriteString(c, header[:20])
				case 1: // of a body,
					_, _ = io.WriteString(c, header+body[:20])
				case 2: // does not wait for its answer,
					_, _ = io.WriteString(c, header+body)
				} // or just goes.
			})
		}
		callers.Wait()
		end()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			all := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, before there were %d:\n%s", runtime.NumGoroutine(), before, all[:runtime.Stack(all, true)])
		}
	}
}
