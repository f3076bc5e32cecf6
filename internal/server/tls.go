package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// TLS is how HTTPS is spoken: 1.2 and newer, HTTP/2 and HTTP/1.1 (and what more names), sessions resumed by tickets whose keys crypto/tls
// rotates by itself. certificate is asked at each full handshake, so a replaced certificate needs no new listener.
func TLS(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), more ...string) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     append([]string{"h2", "http/1.1"}, more...),
		GetCertificate: certificate,
	}
}

// KeyPair is a certificate with its key, in two files that somebody else renews. Use LoadKeyPair.
type KeyPair struct {
	certFile, keyFile string
	log               *slog.Logger
	current           atomic.Pointer[tls.Certificate]

	mu     sync.Mutex
	used   digest // of the files that current was read from
	seen   digest // of the files as Follow saw them last
	warned digest // of the files that were warned of
}

// digest stands for what two files hold, or for why they cannot be read.
type digest [sha256.Size]byte

// LoadKeyPair reads the pair. One that has expired is served, with a warning: some controllers do not look at the date.
func LoadKeyPair(certFile, keyFile string, log *slog.Logger) (*KeyPair, error) {
	k := &KeyPair{certFile: certFile, keyFile: keyFile, log: log}
	pair, at, err := k.read()
	if err != nil {
		return nil, err
	}
	if end := pair.Leaf.NotAfter; time.Now().After(end) {
		log.Warn("the certificate has expired", slog.String("file", certFile), slog.Time("expired", end))
	}
	k.current.Store(pair)
	k.used = at
	return k, nil
}

// Certificate is the pair in use.
func (k *KeyPair) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return k.current.Load(), nil
}

// Expires is when the certificate in use ends.
func (k *KeyPair) Expires() time.Time { return k.current.Load().Leaf.NotAfter }

// Follow looks at the files every so often, until ctx ends, and takes a new pair into use. While the new one is broken the old one stays, and that
// is said once. Files are replaced one after the other: a pair is called broken only when it was so twice in a row.
func (k *KeyPair) Follow(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.look(true)
		}
	}
}

// Reload looks at the files now, and says at once when they are broken.
func (k *KeyPair) Reload() { k.look(false) }

func (k *KeyPair) look(patient bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	pair, at, err := k.read()
	before := k.seen
	k.seen = at
	if err == nil && at == k.used {
		return
	}
	if now := time.Now(); err == nil && now.After(pair.Leaf.NotAfter) && now.Before(k.Expires()) {
		err = fmt.Errorf("%s: the certificate expired on %s", k.certFile, pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if err != nil {
		if at != k.warned && (!patient || at == before) {
			k.warned = at
			k.log.Warn("the new certificate cannot be used; the old one stays", slog.String("error", err.Error()), slog.Time("old_expires", k.Expires()))
		}
		return
	}
	k.current.Store(pair)
	k.used = at
	k.log.Info("the certificate was replaced", slog.String("file", k.certFile), slog.Time("expires", pair.Leaf.NotAfter))
}

// read reads the pair, and what tells it from another one.
func (k *KeyPair) read() (*tls.Certificate, digest, error) {
	cert, err := os.ReadFile(k.certFile)
	if err != nil {
		return nil, sha256.Sum256([]byte(err.Error())), err
	}
	key, err := os.ReadFile(k.keyFile)
	if err != nil {
		return nil, sha256.Sum256([]byte(err.Error())), err
	}
	at := sha256.Sum256(bytes.Join([][]byte{cert, key}, []byte{0}))
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, at, fmt.Errorf("%s with %s: %w", k.certFile, k.keyFile, err)
	}
	return &pair, at, nil
}

// RedirectToHTTPS sends every request to the same path over HTTPS: at authority (host or host:port), or, if that is "", at the host that the
// request names and the given port. The status keeps method and body.
func RedirectToHTTPS(authority, port string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.RequestURI()
		if path[0] != '/' { // "*", "x:.evil.test": it would become part of the host
			http.Error(w, "HTTPS only, and the request names no path to send it to", http.StatusBadRequest)
			return
		}
		to := authority
		if to == "" {
			name, _ := splitHost(r.Host)
			if name == "" {
				http.Error(w, "HTTPS only, and the request names no host to send it to", http.StatusBadRequest)
				return
			}
			to = joinHost(name, port)
		}
		w.Header().Set("Cache-Control", "no-store") // who switches HTTPS off again must not be locked out by caches
		http.Redirect(w, r, "https://"+to+path, http.StatusPermanentRedirect)
	})
}
