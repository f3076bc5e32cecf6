package drill

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// push is what a load generator that counts, and keeps no account of single requests, is asked to do: as many as the machine can.
type push struct {
	address string
	people  []*person
	conns   int
	rate    float64 // requests a second, whether or not earlier ones were answered, as long as a connection is free; 0 = each asks as soon as it is answered
	lasts   time.Duration
	keep    bool // when each accepted one began as well
}

// pushed is what it met.
type pushed struct {
	accepted, refused []time.Duration // how long each answer took, sorted
	when              []moment        // of the accepted, if kept
	other, broken     int
	hintless          int // refusals without Retry-After
	seconds           float64
	sent              int
	short             int // arrivals for which every connection was busy
}

// moment is from when to when somebody waited for an answer.
type moment struct {
	began time.Time
	took  time.Duration
}

func (p pushed) rate() float64 { return float64(len(p.accepted)) / p.seconds }

// allAccepted holds a push to that it was answered as a whole: nobody was refused and nothing broke.
func (p pushed) allAccepted(t *testing.T) {
	t.Helper()
	if len(p.accepted) == 0 || len(p.refused)+p.broken+p.other > 0 {
		t.Errorf("%d accepted, %d refused, %d broken, %d other; want all accepted", len(p.accepted), len(p.refused), p.broken, p.other)
	}
}

func (p pushed) offered() float64 { return float64(p.sent+p.short) / p.seconds }

// at is a quantile.
func at(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func (p push) run(t testing.TB) pushed {
	t.Helper()
	var arrivals chan struct{}
	began := time.Now()
	end := began.Add(p.lasts)
	short := 0
	var wg sync.WaitGroup
	if p.rate > 0 {
		arrivals = make(chan struct{}) // no room: who arrives while every connection is busy is turned away here
		wg.Go(func() {
			defer close(arrivals)
			sent := 0.0
			for now := time.Now(); now.Before(end); now = time.Now() {
				for ; sent < now.Sub(began).Seconds()*p.rate; sent++ {
					select {
					case arrivals <- struct{}{}:
					default:
						short++
					}
				}
				rest(200 * time.Microsecond)
			}
		})
	}
	each := make([]pushed, p.conns)
	for i := range each {
		wg.Go(func() { each[i].push(p, arrivals, end, rand.New(rand.NewPCG(1, uint64(i)))) })
	}
	wg.Wait()
	all := pushed{seconds: time.Since(began).Seconds(), short: short}
	for _, e := range each {
		all.accepted = append(all.accepted, e.accepted...)
		all.refused = append(all.refused, e.refused...)
		all.when = append(all.when, e.when...)
		all.other, all.broken, all.hintless, all.sent = all.other+e.other, all.broken+e.broken, all.hintless+e.hintless, all.sent+e.sent
	}
	slices.Sort(all.accepted)
	slices.Sort(all.refused)
	return all
}

// push is one connection's part.
func (r *pushed) push(p push, arrivals <-chan struct{}, end time.Time, rnd *rand.Rand) {
	var conn net.Conn
	var in *bufio.Reader
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	var out []byte
	for time.Now().Before(end) {
		if arrivals != nil {
			if _, more := <-arrivals; !more {
				return
			}
		}
		if conn == nil {
			c, err := net.DialTimeout("tcp", p.address, 5*time.Second)
			if err != nil {
				r.broken++
				continue
			}
			conn, in = c, bufio.NewReaderSize(c, 2048)
		}
		body := `{"gate_id":"` + door + `","token":"` + p.people[rnd.IntN(len(p.people))].token + `"}`
		out = fmt.Appendf(out[:0], "POST /api/v1/access/verify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		r.sent++
		began := time.Now()
		_ = conn.SetDeadline(began.Add(20 * time.Second)) // fails only when the connection is broken, as the next line will
		_, err := conn.Write(out)
		status, hint, closing := 0, false, false
		if err == nil {
			status, hint, closing, err = readStatus(in)
		}
		took := time.Since(began)
		if err != nil || closing {
			conn.Close()
			conn = nil
		}
		switch {
		case err != nil:
			r.broken++
		case status == http.StatusOK:
			r.accepted = append(r.accepted, took)
			if p.keep {
				r.when = append(r.when, moment{began, took})
			}
		case status == http.StatusServiceUnavailable:
			r.refused = append(r.refused, took)
			if !hint {
				r.hintless++
			}
		default:
			r.other++
		}
	}
}

// readStatus reads one answer with a Content-Length, and says whether it had a Retry-After and whether the server closes the connection.
func readStatus(in *bufio.Reader) (status int, hint, closing bool, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, false, false, err
	}
	if len(line) < 12 {
		return 0, false, false, fmt.Errorf("status line %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, false, false, err
	}
	length := 0
	for {
		if line, err = in.ReadSlice('\n'); err != nil {
			return 0, false, false, err
		}
		name, value, found := bytes.Cut(bytes.TrimSpace(line), []byte(": "))
		if !found {
			break
		}
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, false, false, err
			}
		case bytes.EqualFold(name, []byte("Retry-After")):
			hint = true
		case bytes.EqualFold(name, []byte("Connection")):
			closing = bytes.EqualFold(value, []byte("close"))
		}
	}
	_, err = in.Discard(length)
	return status, hint, closing, err
}
