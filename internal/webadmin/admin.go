package webadmin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/gatekeeper"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/throttle"
)

// Config is what the admin pages need. Gatekeeper, Registry and Feed must be given.
type Config struct {
	Gatekeeper *gatekeeper.Gatekeeper
	Registry   *registry.Registry
	Feed       *eventlog.Feed    // of what happens at the gates
	SignIns    *throttle.SignIns // shared with the other doors where passwords are typed; nil = no limit
	PublicURL  *url.URL          // where people reach the server; forms from there are ours. nil = the host that is asked
	Version    string            // of this program, to show
	Language   string            // where the browser names neither English nor Russian: "en" (also "") or "ru"
	Now        func() time.Time  // nil = time.Now
	Logger     *slog.Logger      // nil = slog.Default
}

// Admin answers everything below /admin/.
type Admin struct {
	gate     *gatekeeper.Gatekeeper
	desk     *registry.Registry
	feed     *eventlog.Feed
	version  string
	streams  streams
	signIns  *throttle.SignIns
	language language
	now      func() time.Time
	log      *slog.Logger

	mux     *http.ServeMux
	table   map[string]route // by "METHOD pattern"
	forgery *http.CrossOriginProtection
	assets  assets
	pages   pages
}

// New makes the admin pages. An error means that the binary was built with a page that cannot be read.
func New(c Config) (*Admin, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.SignIns == nil {
		c.SignIns = throttle.NewSignIns(throttle.Rate{}, c.Now)
	}
	a := &Admin{
		gate: c.Gatekeeper, desk: c.Registry, feed: c.Feed, version: c.Version, signIns: c.SignIns, language: parseLanguage(c.Language), now: c.Now, log: c.Logger,
		mux: http.NewServeMux(), table: map[string]route{}, forgery: http.NewCrossOriginProtection(),
	}
	if c.PublicURL != nil {
		if err := a.forgery.AddTrustedOrigin(c.PublicURL.Scheme + "://" + c.PublicURL.Host); err != nil {
			return nil, fmt.Errorf("trust %s: %w", c.PublicURL, err)
		}
	}
	var err error
	if a.assets, err = readAssets(); err != nil {
		return nil, err
	}
	if a.pages, err = findPages(a.assets); err != nil {
		return nil, err
	}
	for _, rt := range a.routes() {
		pattern := rt.method + " " + rt.pattern
		a.table[pattern] = rt
		a.mux.Handle(pattern, a.guard(rt))
	}
	a.mux.HandleFunc("/", a.notFound)
	return a, nil
}

// maxBody bounds what a form may send.
const maxBody = 1 << 20

// ServeHTTP answers a request. What holds for every page stands here: no other site may embed, script, or read one.
func (a *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "+
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Del("Access-Control-Allow-Origin") // origins that may read the API may not read pages
	h.Del("Access-Control-Allow-Credentials")
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	a.mux.ServeHTTP(w, r)
}

// Methods names the methods of a path; none where there is no page.
func (a *Admin) Methods(path string) []string {
	var methods []string
	for _, m := range []string{http.MethodGet, http.MethodPost} {
		_, pattern := a.mux.Handler(&http.Request{Method: m, URL: &url.URL{Path: path}, Host: "localhost"})
		if _, ok := a.table[pattern]; !ok {
			continue
		}
		if methods = append(methods, m); m == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
	}
	return methods
}

// Error renders an error of the server itself (a host that is not allowed, a panic) as a page.
func (a *Admin) Error(w http.ResponseWriter, r *http.Request, status int) {
	a.failStatus(w, a.begin(r), status, "")
}

// guard lets those pass to a route who may use it.
func (a *Admin) guard(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := a.begin(r)
		if err := a.forgery.Check(r); err != nil {
			a.fail(w, r, v, fmt.Errorf("%w: %w", errForged, err))
			return
		}
		err := a.recognise(w, r, v)
		r = r.WithContext(context.WithValue(r.Context(), visitKey{}, v))
		switch {
		case err != nil && rt.role == access.None && errors.Is(err, access.ErrUnavailable): // the page to sign in needs no database
		case err != nil:
			a.fail(w, r, v, err)
			return
		case rt.role != access.None && v.session.ID == 0:
			a.askToSignIn(w, r, v)
			return
		case !v.role().Includes(rt.role):
			a.fail(w, r, v, fmt.Errorf("%s %s needs the role %s: %w", rt.method, rt.pattern, rt.role, access.ErrDenied))
			return
		}
		if err := rt.answer(w, r); err != nil {
			a.fail(w, r, v, err)
		}
	}
}

// notFound answers for paths that are no page, and for methods that a page does not have. (The mux itself adds a slash that is missing.)
func (a *Admin) notFound(w http.ResponseWriter, r *http.Request) {
	v := a.begin(r)
	if err := a.recognise(w, r, v); err != nil {
		a.fail(w, r, v, err)
		return
	}
	status := http.StatusNotFound
	if methods := a.Methods(r.URL.Path); len(methods) > 0 {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		status = http.StatusMethodNotAllowed
	}
	a.failStatus(w, v, status, "")
}

// visit is one request of one person: who asks, in which language, at what time of which zone.
type visit struct {
	admin     *Admin
	lang      language
	theme     string // "light", "dark", or "" = as the system has it
	now       time.Time
	zone      *time.Location
	path      string
	requestID string
	address   netip.Addr
	secure    bool // the browser came over HTTPS

	user    access.User // the zero User unless signed in
	session registry.Session
	flash   *flash
}

type visitKey struct{}

func visitOf(r *http.Request) *visit { return r.Context().Value(visitKey{}).(*visit) }

// role is what the visitor may do: None unless signed in.
func (v *visit) role() access.Role { return v.user.Role() }

// actor is who makes a change through the pages, for the audit.
func (v *visit) actor() access.Actor {
	a := access.Actor{Kind: "user", UserID: v.user.ID, Label: v.user.Username, RequestID: v.requestID, SessionID: v.session.ID}
	if v.address.IsValid() {
		a.Address = v.address.String()
	}
	return a
}

// begin looks at what a request says by itself, before anybody is recognised.
func (a *Admin) begin(r *http.Request) *visit {
	v := &visit{
		admin: a, now: a.now(), zone: time.UTC, path: r.URL.Path, requestID: r.Header.Get("X-Request-Id"), secure: r.Header.Get("X-Forwarded-Proto") == "https",
		lang: negotiate(r.Header["Accept-Language"], a.language),
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead { // with the filter of a list
		v.path = r.URL.RequestURI()
	}
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		v.address = ap.Addr().Unmap()
	}
	if c, err := r.Cookie(languageCookie); err == nil && knownLanguage(c.Value) {
		v.lang = language(c.Value)
	}
	if c, err := r.Cookie(themeCookie); err == nil && (c.Value == "light" || c.Value == "dark") {
		v.theme = c.Value
	}
	return v
}

// recognise fills in who is signed in, if somebody is.
func (a *Admin) recognise(w http.ResponseWriter, r *http.Request, v *visit) error {
	v.flash = takeFlash(w, r, v)
	c, err := r.Cookie(sessionCookie(v.secure))
	if err != nil {
		return nil
	}
	session, user, err := a.desk.Session(r.Context(), c.Value)
	if errors.Is(err, access.ErrBadToken) {
		return nil
	}
	if err != nil {
		return err
	}
	site, err := a.desk.Site(r.Context())
	if err != nil {
		return err
	}
	if v.zone, err = time.LoadLocation(site.Zone); err != nil {
		v.zone = time.UTC
	}
	v.session, v.user = session, user
	if knownLanguage(user.Language) {
		v.lang = language(user.Language)
	}
	if l, ok := w.(interface{ AddLogAttrs(attrs ...slog.Attr) }); ok {
		l.AddLogAttrs(slog.Int64("user_id", user.ID))
	}
	return nil
}
