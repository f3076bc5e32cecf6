package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// ACMEConfig says for whom certificates are got, and where.
type ACMEConfig struct {
	Domains []string // at least one; the first is for clients that name none
	Email   string   // of the account; "" = none
	URL     string   // the authority's directory; "" = Let's Encrypt
	Storage string   // directory for the account's key and the certificates
	Logger  *slog.Logger
}

// ACME gets certificates from an authority such as Let's Encrypt and renews them. Use NewACME, and Run.
//
// A handshake never asks the authority for anything: Run alone does, ever more seldom while it fails, so that no client can use up
// the authority's patience.
type ACME struct {
	cfg     ACMEConfig
	manager *autocert.Manager

	mu   sync.RWMutex
	have map[string]bool // domains that the manager has a certificate for
}

// LetsEncrypt is the directory that certificates come from unless another one is named.
const LetsEncrypt = acme.LetsEncryptURL

// NewACME makes an ACME that has no certificate until Run gets one.
func NewACME(c ACMEConfig) *ACME {
	if c.URL == "" {
		c.URL = LetsEncrypt
	}
	return &ACME{cfg: c, have: make(map[string]bool), manager: &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(c.Storage), HostPolicy: autocert.HostWhitelist(c.Domains...),
		Email: c.Email, Client: &acme.Client{DirectoryURL: c.URL, UserAgent: "openway"},
	}}
}

// TLS is how HTTPS is spoken with these certificates. It answers the authority's challenge tls-alpn-01 as well.
func (a *ACME) TLS() *tls.Config { return TLS(a.certificate, acme.ALPNProto) }

// HTTP answers the authority's challenge http-01, and leaves the rest to next.
func (a *ACME) HTTP(next http.Handler) http.Handler {
	challenges := a.manager.HTTPHandler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/.well-known/acme-challenge/") {
			r.Host, _ = splitHost(r.Host) // the manager knows names without ports
		}
		challenges.ServeHTTP(w, r)
	})
}

func (a *ACME) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	// The authority names this protocol alone (RFC 8737). Whoever names others beside it would be taken for a visitor by the manager, which would
	// then order a certificate for them.
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acme.ALPNProto {
		return a.manager.GetCertificate(hello)
	}
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if name == "" { // a controller that was given an address
		name = a.cfg.Domains[0]
	}
	if !a.has(name) {
		return nil, fmt.Errorf("no certificate for %q", name)
	}
	return a.manager.GetCertificate(helloFor(name))
}

func (a *ACME) has(domain string) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.have[domain]
}

// helloFor is how the manager is asked for a domain's certificate: by a client that knows ECDSA, as all of today do.
func helloFor(domain string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{ServerName: domain, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
}

// KeptCertificate is the certificate that an ACME keeps for a domain in its storage; fs.ErrNotExist when it has none.
func KeptCertificate(storage, domain string) (tls.Certificate, error) {
	file := filepath.Join(storage, domain) // key and chain, as autocert names it for ECDSA
	return tls.LoadX509KeyPair(file, file)
}

// Expires is when the first of the certificates in use ends; zero while a domain has none.
func (a *ACME) Expires() (first time.Time) {
	for _, d := range a.cfg.Domains {
		if !a.has(d) {
			return time.Time{}
		}
		c, err := a.manager.GetCertificate(helloFor(d))
		if err != nil {
			return time.Time{}
		}
		if first.IsZero() || c.Leaf.NotAfter.Before(first) {
			first = c.Leaf.NotAfter
		}
	}
	return first
}

const (
	lookForRenewed = time.Minute     // the manager renews in the background, in the last third of a certificate's life
	firstRetry     = 2 * time.Minute // doubles with each failure
	longestRetry   = 2 * time.Hour
)

// Run gets the certificates and keeps them fresh until ctx ends. The listeners must be open: the authority asks there.
func (a *ACME) Run(ctx context.Context) {
	var domains sync.WaitGroup
	for _, d := range a.cfg.Domains {
		domains.Go(func() { a.keep(ctx, d) })
	}
	domains.Wait()
}

func (a *ACME) keep(ctx context.Context, domain string) {
	log := a.cfg.Logger.With(slog.String("domain", domain))
	retry := firstRetry
	var used *x509.Certificate
	var warned time.Time
	for {
		wait := lookForRenewed
		c, err := a.get(ctx, domain)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = retry
			retry = min(2*retry, longestRetry)
			log.Error("no certificate could be got; trying again later", slog.String("from", a.cfg.URL), slog.String("error", err.Error()), slog.String("next_try_in", wait.String()))
		case used == nil || !used.Equal(c.Leaf):
			used, retry = c.Leaf, firstRetry
			a.mu.Lock()
			a.have[domain] = true
			a.mu.Unlock()
			log.Info("a certificate is in use", slog.String("from", a.cfg.URL), slog.Time("expires", used.NotAfter))
		case time.Until(used.NotAfter) < used.NotAfter.Sub(used.NotBefore)/4 && time.Since(warned) > 24*time.Hour:
			warned = time.Now()
			log.Warn("the certificate should have been renewed by now and was not", slog.Time("expires", used.NotAfter))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// get asks the manager, which asks the authority if it has none that holds. It may take minutes; at the end of ctx it is left behind.
func (a *ACME) get(ctx context.Context, domain string) (*tls.Certificate, error) {
	type result struct {
		cert *tls.Certificate
		err  error
	}
	got := make(chan result, 1)
	go func() {
		c, err := a.manager.GetCertificate(helloFor(domain))
		got <- result{c, err}
	}()
	select {
	case r := <-got:
		return r.cert, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
