package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// target is one server that is measured.
type target struct {
	name string
	addr string // host:port
	host string // what requests call it; "" = 127.0.0.1
	tls  bool
	ours bool
	pid  int // 0 = not ours to look into
	base int // the postmaster whose processes work for this server; 0 = none
	stop func() error
}

// bareMain is the limit: net/http, the body decoded, a fixed answer, nothing recorded. What any Go server does at least. Two more arguments
// are the files of a certificate and its key: then it speaks HTTPS.
func bareMain() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/access/verify", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Gate  string `json:"gate_id"`
			Token string `json:"token"`
		}
		if err := json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		// The generator checks decisions, and this server takes none: it says both words.
		_, _ = io.WriteString(w, `{"decision":"ALLOW","duration_ms":800,"reason":"OK","also":{"reason":"NO_PERMISSION"}}`)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	fmt.Printf("listening %s\n", listener.Addr())
	if len(os.Args) == 4 {
		return server.ServeTLS(listener, os.Args[2], os.Args[3])
	}
	return server.Serve(listener)
}

// child starts a process that says where it listens in one of its first lines: "listening HOST:PORT", or as a JSON log line with an "address".
func child(name string, cmd *exec.Cmd) (*target, error) {
	out, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = cmd.Stderr
	cmd.SysProcAttr = endsWithUs()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	address := make(chan string, 1)
	go func() {
		defer close(address)
		lines, found := bufio.NewScanner(out), false
		lines.Buffer(nil, 1<<20)
		var said []string
		for lines.Scan() {
			line := lines.Text()
			if found {
				continue // read on, so that the server never waits for us
			}
			var logged struct{ Address string }
			if after, ok := strings.CutPrefix(line, "listening "); ok {
				logged.Address = after
			} else if strings.HasPrefix(line, "{") {
				if err := json.Unmarshal([]byte(line), &logged); err != nil {
					logged.Address = ""
				}
			}
			if logged.Address != "" {
				found = true
				address <- logged.Address
			} else if said = append(said, line); len(said) == 1000 {
				said = said[:0]
			}
		}
		if !found {
			fmt.Fprintf(os.Stderr, "%s:\n%s\n", name, strings.Join(said, "\n"))
		}
	}()
	t := &target{name: name, pid: cmd.Process.Pid}
	t.stop = func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		return cmd.Wait()
	}
	select {
	case addr, ok := <-address:
		if !ok {
			return nil, fmt.Errorf("%s ended before it listened: %w", name, cmd.Wait())
		}
		t.addr = addr
	case <-time.After(2 * time.Minute):
		return nil, errors.Join(fmt.Errorf("%s does not listen after two minutes", name), t.stop())
	}
	return t, nil
}

// benchEnv is what our server is started with.
func benchEnv(database string, more ...string) []string {
	return append(append(os.Environ(),
		"OPENWAY_DATABASE="+database, "OPENWAY_SECRET_KEY=a key for benches only, 32 bytes or more",
		"OPENWAY_LISTEN=127.0.0.1:0", "OPENWAY_LOG_FORMAT=json", "OPENWAY_LOG_LEVEL=info",
		// One address asks for a whole site here. The limit is out of reach, but it is counted.
		"ACCESS_VERIFY_RATE=1000000/second",
		// And one address is a storm of logins: what bounds it is what bounds one that comes from everywhere.
		"OPENWAY_LOGIN_RATE=off"), more...)
}

// startOurs applies the site to a database and starts openway on it.
func startOurs(ctx context.Context, name, binary, dir, database string, site []byte, more ...string) (*target, error) {
	file := filepath.Join(dir, "site.yaml")
	if err := os.WriteFile(file, site, 0o600); err != nil {
		return nil, err
	}
	apply := exec.CommandContext(ctx, binary, "apply", "-f", file)
	apply.Env = benchEnv(database)
	if out, err := apply.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: openway apply: %w\n%s", name, err, out)
	}
	serve := exec.CommandContext(ctx, binary, "serve")
	serve.Env = benchEnv(database, more...)
	return child(name, serve)
}

// speaksHTTPS reports whether a binary can be given a certificate.
func speaksHTTPS(ctx context.Context, binary string) bool {
	help, err := exec.CommandContext(ctx, binary, "serve", "--help").CombinedOutput()
	return err == nil && bytes.Contains(help, []byte("--tls-cert"))
}

// makeCertificate writes a certificate for 127.0.0.1, and its key, of the kind that authorities give today (ECDSA P-256).
func makeCertificate(dir string) (certFile, keyFile string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	now := time.Now()
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return "", "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	return certFile, keyFile, errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// askOnce sends one request on a connection of its own. The answer must be 200 with a word in it.
func askOnce(addr string, request []byte, want string) error {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write(request); err != nil {
		return err
	}
	status, body, _, err := readAnswer(bufio.NewReader(c))
	if err == nil && (status != 200 || !bytes.Contains(body, []byte(want))) {
		err = fmt.Errorf("asked %q, got %d %q, want %s", request, status, body, want)
	}
	return err
}

// startPostgres starts a private PostgreSQL with the durability of a real one, and returns its URL and the id of its first process.
func startPostgres(dir string) (url string, postmaster int, stop func() error, err error) {
	bin, err := postgresBinaries()
	if err != nil {
		return "", 0, nil, err
	}
	dir = filepath.Join(dir, "postgres")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", 0, nil, err
	}
	var as *syscall.SysProcAttr
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		const nobody = 65534
		as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if err := errors.Join(os.Chown(dir, nobody, nobody), os.Chmod(filepath.Dir(dir), 0o711)); err != nil {
			return "", 0, nil, err
		}
	}
	run := func(name string, args ...string) error {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Dir, cmd.SysProcAttr = dir, as
		log, err := os.CreateTemp("", "openway-bench-pg-*.log")
		if err != nil {
			return err
		}
		defer os.Remove(log.Name())
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Run(); err != nil {
			said, readErr := os.ReadFile(log.Name())
			return errors.Join(fmt.Errorf("%s: %w\n%s", name, err, said), readErr)
		}
		return nil
	}
	data := filepath.Join(dir, "data")
	if err := run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"); err != nil {
		return "", 0, nil, err
	}
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", 0, nil, err
	}
	port := probe.Addr().(*net.TCPAddr).Port
	if err := probe.Close(); err != nil {
		return "", 0, nil, err
	}
	options := fmt.Sprintf("-p %d -c listen_addresses=127.0.0.1 -c unix_socket_directories='%s' -c shared_buffers=256MB -c max_wal_size=4GB", port, dir)
	if err := run("pg_ctl", "-D", data, "-w", "-l", filepath.Join(dir, "log"), "-o", options, "start"); err != nil {
		return "", 0, nil, err
	}
	lock, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return "", 0, nil, err
	}
	first, _, _ := strings.Cut(string(lock), "\n")
	if postmaster, err = strconv.Atoi(first); err != nil {
		return "", 0, nil, fmt.Errorf("postmaster.pid: %w", err)
	}
	for _, name := range []string{"openway_false", "openway_true"} {
		if err := run("createdb", "-h", "127.0.0.1", "-p", strconv.Itoa(port), "-U", "postgres", name); err != nil {
			return "", 0, nil, err
		}
	}
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port), postmaster,
		func() error { return run("pg_ctl", "-D", data, "-m", "fast", "stop") }, nil
}

func postgresBinaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if path, lookErr := exec.LookPath("initdb"); lookErr == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		return "", errors.New("no PostgreSQL server binaries (initdb): install PostgreSQL, or leave it out with --engines sqlite")
	}
	initdb, err := filepath.EvalSymlinks(found[len(found)-1]) // its fellows stand beside it, not beside a link to it
	return filepath.Dir(initdb), err
}

// residentMB is the resident memory of a process, in MB; 0 if it cannot be read.
func residentMB(pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if after, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(after), " kB"), 64)
			if err != nil {
				return 0
			}
			return kb / 1024
		}
	}
	return 0
}

// cpuSeconds is the processor time that a server has used so far, with what its database's processes have; 0 if it cannot be read.
func (t *target) cpuSeconds() float64 {
	used := 0.0
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || t.pid == 0 {
		return 0
	}
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// "pid (name) state ppid … utime stime …": the name may hold anything.
		_, rest, _ := strings.Cut(string(raw), ") ")
		fields := strings.Fields(rest)
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || len(fields) < 13 {
			continue
		}
		if pid != t.pid && (t.base == 0 || fields[1] != strconv.Itoa(t.base)) {
			continue
		}
		for _, ticks := range fields[11:13] {
			n, err := strconv.ParseFloat(ticks, 64)
			if err != nil {
				return 0
			}
			const ticksPerSecond = 100 // USER_HZ, the same on every Linux
			used += n / ticksPerSecond
		}
	}
	return used
}
