package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// loadOrder is what one run of the load generator is asked to do. It travels as JSON to a process of its own, so that the generator's
// memory and scheduler are not those of the orchestrator.
type loadOrder struct {
	Addr     string  // host:port
	Host     string  // the header; "" = 127.0.0.1
	TLS      bool    // whatever certificate it shows; sessions are resumed
	Logins   bool    // sign in with passwords that are wrong, instead of asking at gates
	Site     siteDef // whom and what to ask about
	Conns    int     // how many callers; each waits for its answer before it asks again
	Fresh    bool    // a new connection for each request, as the firmware does
	Rate     float64 // requests a second that arrive whether or not earlier ones were answered; 0 = closed loop
	WarmUp   time.Duration
	Duration time.Duration
	Seed     uint64
}

// loadResult is what one run measured, after the warm-up.
type loadResult struct {
	Answered int     // complete answers with status 200 and the decision that the site's rules give
	Wrong    int     // answers with another decision: the run is void
	Refused  int     // 503 answers
	Failed   int     // connections that broke
	Allow    int     // of Answered
	Resumed  int     // of Answered: over a TLS session that was resumed
	Served   int     // all answers of any kind, the warm-up's too
	CPU      float64 // the server's processor time for each of Served, microseconds; 0 = not measured
	Seconds  float64 // measured time
	P50      float64 // milliseconds; in an open loop counted from the planned arrival
	P90      float64
	P99      float64
	Max      float64
}

func (r loadResult) perSecond() float64 { return float64(r.Answered) / r.Seconds }

// runLoad is the generator: it sends what the order says and measures.
func runLoad(o loadOrder) (loadResult, error) {
	ask := newAsker(o.Site, o.Host)
	var secure *tls.Config
	if o.TLS {
		secure = &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(2 * o.Conns)} //nolint:gosec // it measures and trusts nothing
	}
	start := time.Now()
	measureFrom := start.Add(o.WarmUp)
	end := measureFrom.Add(o.Duration)

	var arrivals chan time.Time // open loop: when each request was meant to begin
	if o.Rate > 0 {
		arrivals = make(chan time.Time, int(o.Rate*(o.WarmUp+o.Duration).Seconds())+1)
		go pace(arrivals, start, end, o.Rate)
	}
	callers := make([]caller, o.Conns)
	var wg sync.WaitGroup
	for i := range callers {
		c := &callers[i]
		c.order, c.ask, c.tls = &o, ask, secure
		c.rng = rand.New(rand.NewPCG(o.Seed, uint64(i)))
		wg.Go(func() { c.run(arrivals, measureFrom, end) })
	}
	wg.Wait()

	var res loadResult
	var all []uint32
	var errs []error
	for i := range callers {
		c := &callers[i]
		res.Answered += c.res.Answered
		res.Wrong += c.res.Wrong
		res.Refused += c.res.Refused
		res.Failed += c.res.Failed
		res.Allow += c.res.Allow
		res.Resumed += c.res.Resumed
		res.Served += c.res.Served
		all = append(all, c.micros...)
		if c.err != nil && len(errs) < 3 {
			errs = append(errs, c.err)
		}
	}
	res.Seconds = o.Duration.Seconds()
	slices.Sort(all)
	at := func(q float64) float64 {
		if len(all) == 0 {
			return 0
		}
		return float64(all[min(len(all)-1, int(q*float64(len(all))))]) / 1000
	}
	res.P50, res.P90, res.P99, res.Max = at(0.50), at(0.90), at(0.99), at(1)
	return res, errors.Join(errs...)
}

// pace sends the planned arrivals at their times, from a thread (and a P) of its own.
func pace(arrivals chan<- time.Time, start, end time.Time, rate float64) {
	defer close(arrivals)
	runtime.GOMAXPROCS(runtime.NumCPU() + 1)
	runtime.LockOSThread()
	for n := 0; ; n++ {
		planned := start.Add(time.Duration(float64(n) / rate * float64(time.Second)))
		if planned.After(end) {
			return
		}
		for wait := time.Until(planned); wait > 0; wait = time.Until(planned) {
			if err := pause(wait); err != nil && !errors.Is(err, syscall.EINTR) {
				return
			}
		}
		arrivals <- planned
	}
}

// caller is one controller: one connection at a time, one request at a time.
type caller struct {
	order  *loadOrder
	ask    *asker
	tls    *tls.Config // nil = plain
	rng    *rand.Rand
	conn   net.Conn
	in     *bufio.Reader
	out    []byte
	res    loadResult
	micros []uint32
	err    error

	resumed bool // the last answer came over a TLS session that was resumed
}

func (c *caller) run(arrivals <-chan time.Time, measureFrom, end time.Time) {
	defer c.close()
	for {
		begun := time.Now()
		if arrivals != nil {
			planned, more := <-arrivals
			if !more {
				return
			}
			begun = planned // a late answer to an earlier one makes this one late as well: that is what a person at the door feels
		}
		if begun.After(end) || time.Now().After(end) {
			return
		}
		outcome, err := c.once()
		done := time.Now()
		if err == nil {
			c.res.Served++
			if outcome == wrongAnswer { // in the warm-up as well
				c.res.Wrong++
			}
		}
		if begun.Before(measureFrom) || done.After(end) {
			if err != nil {
				c.close()
			}
			continue
		}
		switch {
		case err != nil:
			c.res.Failed++
			c.err = err
			c.close()
			continue
		case outcome == wrongAnswer:
		case outcome == refusedAnswer:
			c.res.Refused++
		default:
			c.res.Answered++
			if c.resumed {
				c.res.Resumed++
			}
			if outcome == allowAnswer {
				c.res.Allow++
			}
			c.micros = append(c.micros, uint32(min(done.Sub(begun).Microseconds(), 1<<31)))
		}
	}
}

func (c *caller) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

type answer int

const (
	allowAnswer answer = iota
	denyAnswer
	refusedAnswer
	wrongAnswer
)

// once sends one request and reads its answer.
func (c *caller) once() (answer, error) {
	if c.order.Fresh {
		c.close()
	}
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.order.Addr, 5*time.Second)
		if err != nil {
			return wrongAnswer, err
		}
		if c.tls != nil {
			conn = tls.Client(conn, c.tls)
		}
		c.conn = conn
		if c.in == nil {
			c.in = bufio.NewReaderSize(conn, 4096)
		} else {
			c.in.Reset(conn)
		}
	}
	var want []byte
	if c.order.Logins {
		c.out = c.ask.login(c.out[:0], c.rng)
	} else {
		c.out, want = c.ask.request(c.out[:0], c.rng, c.order.Fresh)
	}
	if err := c.conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return wrongAnswer, err
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return wrongAnswer, err
	}
	status, body, closing, err := readAnswer(c.in)
	if err != nil {
		return wrongAnswer, err
	}
	if secured, ok := c.conn.(*tls.Conn); ok {
		c.resumed = secured.ConnectionState().DidResume
	}
	if closing { // what was read stays valid
		c.close()
	}
	switch {
	case status == 503:
		return refusedAnswer, nil
	case c.order.Logins && (status == 400 || status == 401 || status == 429):
		return denyAnswer, nil
	case status != 200 || !bytes.Contains(body, want):
		c.err = fmt.Errorf("asked %q, got %d %q, want %s", c.out[bytes.LastIndexByte(c.out, '{'):], status, body, want)
		return wrongAnswer, nil
	case bytes.Equal(want, wantAllow):
		return allowAnswer, nil
	}
	return denyAnswer, nil
}

// readAnswer reads one HTTP/1.1 answer with a Content-Length. closing says that the server ends the connection after it. The body is valid until the next read.
func readAnswer(in *bufio.Reader) (status int, body []byte, closing bool, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, nil, false, err
	}
	if len(line) < 12 {
		return 0, nil, false, fmt.Errorf("status line %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, nil, false, fmt.Errorf("status line %q: %w", line, err)
	}
	length := -1
	for {
		line, err = in.ReadSlice('\n')
		if err != nil {
			return 0, nil, false, err
		}
		if len(line) <= 2 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, nil, false, fmt.Errorf("header %q: %w", line, err)
			}
		case bytes.EqualFold(name, []byte("Connection")):
			closing = bytes.EqualFold(value, []byte("close"))
		}
	}
	if length < 0 || length > in.Size() {
		return 0, nil, false, fmt.Errorf("an answer without a usable Content-Length (%d)", length)
	}
	body, err = in.Peek(length)
	if err != nil {
		return 0, nil, false, err
	}
	_, err = in.Discard(length)
	return status, body, closing, err
}

// loadMain is the generator's process: an order on standard input, a result on standard output.
func loadMain() error {
	var o loadOrder
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	res, err := runLoad(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
	}
	enc := json.NewEncoder(os.Stdout)
	if err := enc.Encode(res); err != nil {
		return err
	}
	if res.Answered == 0 && !o.Logins { // a storm may be let wait for all its time
		return errors.Join(io.ErrUnexpectedEOF, err)
	}
	return nil
}
