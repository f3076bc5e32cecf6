package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/openway-access/openway/internal/server"
)

// httpsSettings say how the server speaks HTTPS by itself, without a proxy.
type httpsSettings struct {
	TLSCert    string `name:"tls-cert" group:"https" placeholder:"FILE" help:"Certificate with its chain (PEM): --listen then speaks HTTPS. Followed when the file changes."`
	TLSKey     string `name:"tls-key" group:"https" placeholder:"FILE" help:"Its key (PEM)."`
	HTTPListen string `name:"http-listen" group:"https" placeholder:"ADDRESS" help:"Plain HTTP beside HTTPS: redirects, health, the authority's challenges; :80 if HTTPS is at port 443; off."`

	ACMEDomain  string `name:"acme-domain" group:"https" placeholder:"NAMES" help:"Get certificates for these names, with commas, from Let's Encrypt: --listen then speaks HTTPS."`
	ACMEEmail   string `name:"acme-email" group:"https" placeholder:"ADDRESS" help:"Where the authority may write to."`
	ACMEURL     string `name:"acme-url" group:"https" placeholder:"URL" help:"Directory of another authority than Let's Encrypt."`
	ACMEStorage string `name:"acme-storage" group:"https" placeholder:"DIR" help:"Where certificates are kept; acme beside the SQLite database, or data/acme."`
}

// on reports whether --listen speaks HTTPS.
func (c *httpsSettings) on() bool { return c.TLSCert != "" || c.TLSKey != "" || c.ACMEDomain != "" }

// httpsPlan is what httpsSettings say, read and checked. The zero value means plain HTTP.
type httpsPlan struct {
	cert, key  string
	domains    []string
	email, url string
	storage    string // "" = the usual place
	listen     string // of plain HTTP beside HTTPS; "" = none
}

const (
	defaultHTTPSListen = ":443"
	defaultHTTPListen  = ":80"
)

// plan reads the settings. listen is where HTTPS will be.
func (c *httpsSettings) plan(listen string) (p httpsPlan, err error) {
	switch {
	case !c.on():
		if c.HTTPListen != "" && !isOff(c.HTTPListen) {
			return p, settingError(plainListener, "redirects to HTTPS, which is not set up: give OPENWAY_TLS_CERT and OPENWAY_TLS_KEY, or OPENWAY_ACME_DOMAIN")
		}
		return p, nil
	case c.ACMEDomain != "" && (c.TLSCert != "" || c.TLSKey != ""):
		return p, settingError("OPENWAY_ACME_DOMAIN", "and OPENWAY_TLS_CERT name two sources of certificates: choose one")
	case c.ACMEDomain == "" && (c.TLSCert == "" || c.TLSKey == ""):
		return p, settingError("OPENWAY_TLS_CERT", "and OPENWAY_TLS_KEY belong together: give both")
	}
	p.cert, p.key, p.email, p.storage = c.TLSCert, c.TLSKey, strings.TrimSpace(c.ACMEEmail), strings.TrimSpace(c.ACMEStorage)
	for _, d := range list(c.ACMEDomain) {
		name, err := idna.Lookup.ToASCII(strings.ToLower(strings.TrimSuffix(d, ".")))
		_, address := netip.ParseAddr(d)
		if err != nil || address == nil || !strings.Contains(name, ".") || strings.Contains(name, "*") {
			return p, settingError("OPENWAY_ACME_DOMAIN", "%q is not a name such as access.example.org", d)
		}
		p.domains = append(p.domains, name)
	}
	if c.ACMEDomain != "" && len(p.domains) == 0 {
		return p, settingError("OPENWAY_ACME_DOMAIN", "%q names no domain", c.ACMEDomain)
	}
	if p.url = strings.TrimSpace(c.ACMEURL); p.url != "" {
		if u, err := url.Parse(p.url); err != nil || u.Scheme != "https" || u.Hostname() == "" {
			return p, settingError("OPENWAY_ACME_URL", "%q is not an https:// URL", c.ACMEURL)
		}
	}
	_, port, _ := net.SplitHostPort(listen)
	switch {
	case isOff(c.HTTPListen):
	case c.HTTPListen == "" && port != "443":
	default:
		p.listen, err = listenAddress(plainListener, c.HTTPListen, defaultHTTPListen)
	}
	return p, err
}

func isOff(s string) bool { return strings.EqualFold(strings.TrimSpace(s), "off") }

// https is HTTPS at work. The zero value is plain HTTP.
type https struct {
	tls     *tls.Config
	pair    *server.KeyPair // nil = none
	acme    *server.ACME    // nil = none
	expires func() time.Time
}

// begin reads the certificate, or makes the place where certificates will be kept, so that mistakes show before anything else is made.
func (p *httpsPlan) begin(s *settings, log *slog.Logger) (h https, err error) {
	log = log.With(server.LoggerKey, "openway.https")
	switch {
	case p.cert != "":
		if h.pair, err = server.LoadKeyPair(p.cert, p.key, log); err != nil {
			name := "OPENWAY_TLS_CERT"
			if at := (*fs.PathError)(nil); errors.As(err, &at) && at.Path == p.key {
				name = "OPENWAY_TLS_KEY"
			}
			return h, settingError(name, "%w", err)
		}
		h.tls, h.expires = server.TLS(h.pair.Certificate), h.pair.Expires
	case len(p.domains) > 0:
		storage := p.storageOf(s)
		if err := os.MkdirAll(storage, 0o700); err != nil {
			return h, settingError("OPENWAY_ACME_STORAGE", "%w", err)
		}
		h.acme = server.NewACME(server.ACMEConfig{Domains: p.domains, Email: p.email, URL: p.url, Storage: storage, Logger: log})
		h.tls, h.expires = h.acme.TLS(), h.acme.Expires
	}
	return h, nil
}

// storageOf is where certificates are kept.
func (p *httpsPlan) storageOf(s *settings) string {
	if p.storage != "" {
		return p.storage
	}
	if dsn, postgres, err := s.database(); err == nil && !postgres {
		return filepath.Join(filepath.Dir(dsn), "acme")
	}
	return filepath.Join(filepath.Dir(filepath.FromSlash(defaultDatabase)), "acme")
}

// lookEvery is how often the files of the certificate are looked at.
const lookEvery = time.Second

// run keeps the certificates fresh until ctx ends.
func (h *https) run(ctx context.Context) {
	switch {
	case h.pair != nil:
		h.pair.Follow(ctx, lookEvery)
	case h.acme != nil:
		h.acme.Run(ctx)
	}
}

// plain answers plain HTTP beside HTTPS: what an authority asks, and redirects.
func (h *https) plain(publicURL *url.URL, at net.Addr) http.Handler {
	authority := ""
	if publicURL != nil {
		authority = publicURL.Host
	}
	_, port, _ := net.SplitHostPort(at.String())
	redirect := server.RedirectToHTTPS(authority, port)
	if h.acme != nil {
		return h.acme.HTTP(redirect)
	}
	return redirect
}
