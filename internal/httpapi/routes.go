package httpapi

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openway-access/openway/api"
	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/gatekeeper"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/throttle"
)

// Config is what the API needs. Gatekeeper and Registry must be given.
type Config struct {
	Gatekeeper *gatekeeper.Gatekeeper
	Registry   *registry.Registry
	UserRate   throttle.Rate     // calls of a signed-in user; zero = no limit
	AnonRate   throttle.Rate     // anonymous calls under /api/ by address; zero = no limit
	SignIns    *throttle.SignIns // shared with the other doors where passwords are typed; nil = no limit
	Language   string            // of texts where a request names neither English nor Russian: "en" (also "") or "ru"
	Now        func() time.Time  // nil = time.Now
	Logger     *slog.Logger      // nil = slog.Default
}

// Handler answers everything below /api/v1/, /schema/ and /docs/, and 404 for the rest.
type Handler struct {
	gate     *gatekeeper.Gatekeeper
	registry *registry.Registry
	limits   limits
	language language
	now      func() time.Time
	log      *slog.Logger
	mux      *http.ServeMux
	methods  map[string][]string // by path
	schema   schema
	buffers  sync.Pool // of *bytes.Buffer, for bodies
	turns    sync.Pool // of *turn
	fixed    *fixedHeaders
}

// route is one method of one path. It is private unless it says otherwise.
type route struct {
	method string // GET answers HEAD as well
	path   string
	answer func(w http.ResponseWriter, r *http.Request) error
	access mark
}

// mark is who may call a route.
type mark int

const (
	private mark = iota // signed-in users; each call counts against theirs
	public              // anyone; not counted here
)

// routes is the whole API.
func (h *Handler) routes() []route {
	return []route{
		{"POST", api.PathVerify, h.verify, public},
		{"POST", api.PathToken, h.signIn, public},
		{"POST", api.PathRegisterDevice, h.registerDevice, private},
		{"GET", api.PathDevices, h.listDevices, private},
		{"POST", api.PathRevokeDevice, h.revokeDevice, private},

		{"GET", "/schema/{$}", h.schemaDocument, public},
		{"GET", "/docs/{$}", h.docsPage, public},
		{"GET", "/docs/docs.js", docsScriptFile, public},
		{"GET", "/docs/favicon-32x32.png", docsIcon, public},
		{"GET", "/docs/swagger-ui.css", docsPacked("swagger-ui.css", "text/css; charset=utf-8"), public},
		{"GET", "/docs/swagger-ui-bundle.js", docsPacked("swagger-ui-bundle.js", "text/javascript; charset=utf-8"), public},
		{"GET", "/schema", redirect("/schema/"), public},
		{"GET", "/docs", redirect("/docs/"), public},
		{"GET", "/admin", redirect("/admin/"), public},
	}
}

// New makes the API. It panics only if the document that it is built with cannot be read.
func New(c Config) *Handler {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	h := &Handler{
		gate: c.Gatekeeper, registry: c.Registry, limits: newLimits(c), language: parseLanguage(c.Language),
		now: c.Now, log: c.Logger, mux: http.NewServeMux(), methods: make(map[string][]string), schema: newSchema(),
		fixed: newFixedHeaders(),
	}
	h.turns.New = func() any { return new(turn) }
	h.buffers.New = func() any { return new(bytes.Buffer) }
	paths := make(map[string][]route)
	for _, rt := range h.routes() {
		paths[rt.path] = append(paths[rt.path], rt)
		at := strings.TrimSuffix(rt.path, "{$}")
		h.methods[at] = append(h.methods[at], rt.method)
		if rt.method == http.MethodGet {
			h.methods[at] = append(h.methods[at], http.MethodHead)
		}
	}
	for pattern, routes := range paths {
		h.mux.Handle(pattern, h.dispatch(routes))
	}
	h.mux.HandleFunc("/", h.notFound)
	return h
}

// ServeHTTP answers a request. Paths with // or dots in them are not registered; left alone, the mux would redirect them.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !isPlain(r.URL.Path) {
		h.notFound(w, r)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// isPlain reports whether a path leads straight from the root.
func isPlain(p string) bool {
	clean := path.Clean(p)
	return strings.HasPrefix(p, "/") && (p == clean || len(clean) > 1 && p == clean+"/")
}

// Methods names the methods of a path; none where the path is not registered.
func (h *Handler) Methods(at string) []string { return h.methods[at] }

// dispatch answers the requests of one path. Who calls a private path is settled before the method and the body are looked at.
func (h *Handler) dispatch(routes []route) http.HandlerFunc {
	var allow []string
	closed := false
	for _, rt := range routes {
		allow = append(allow, rt.method)
		if rt.method == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
		closed = closed || rt.access != public
	}
	allow = append(allow, http.MethodOptions)
	allowed := strings.Join(allow, ", ")
	return func(w http.ResponseWriter, r *http.Request) {
		i := slices.IndexFunc(routes, func(rt route) bool {
			return rt.method == r.Method || rt.method == http.MethodGet && r.Method == http.MethodHead
		})
		if closed && (i < 0 || routes[i].access != public) {
			var done context.CancelFunc
			r, done = patient(r)
			defer done()
			var err error
			if r, err = h.admit(w, r); err != nil {
				h.fail(w, r, err)
				return
			}
		}
		if i < 0 {
			w.Header().Set("Allow", allowed)
			h.fail(w, r, refuse(http.StatusMethodNotAllowed, sayMethod, r.Method))
			return
		}
		if err := routes[i].answer(w, r); err != nil {
			h.fail(w, r, err)
		}
	}
}

// patience is how long a request may take: longer than its body may (server.Config.ReadTimeout), for it waits for the database and for
// other sign-ins as well. Verify has a bound of its own.
const patience = 20 * time.Second

// patient gives a request that bound in the place of the client's presence: who closes its side of the connection after asking still
// listens, and net/http cannot tell that from having gone.
func patient(r *http.Request) (*http.Request, context.CancelFunc) {
	ctx, done := context.WithTimeout(context.WithoutCancel(r.Context()), patience)
	return r.WithContext(ctx), done
}

// admit lets signed-in users pass to what is private and counts the call. It returns the request with its caller.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	caller, err := h.authenticate(w, r)
	if err != nil {
		if e, ok := asRefusal(err); ok && e.status == http.StatusUnauthorized {
			if over := h.limits.countAnonymous(r); over != nil {
				return r, over
			}
		}
		return r, err
	}
	return withCaller(r, caller), h.limits.countUser(caller.User.ID)
}

// notFound answers for paths that are not registered, to anyone alike.
func (h *Handler) notFound(w http.ResponseWriter, r *http.Request) {
	err := refuse(http.StatusNotFound, sayNoPath)
	if strings.HasPrefix(r.URL.Path, "/api/") {
		r, done := patient(r)
		defer done()
		if caller, bad := h.authenticate(w, r); bad == nil {
			if over := h.limits.countUser(caller.User.ID); over != nil {
				err = over
			}
		} else if over := h.limits.countAnonymous(r); over != nil {
			err = over
		}
	}
	h.fail(w, r, err)
}

func redirect(to string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		target := to
		if r.URL.RawQuery != "" {
			target += "?" + r.URL.RawQuery
		}
		http.Redirect(w, r, target, http.StatusMovedPermanently)
		return nil
	}
}

// languageOf is the language that a request wants to be answered in.
func (h *Handler) languageOf(r *http.Request) language {
	return negotiate(r.Header["Accept-Language"], h.language)
}

// requestID is the request's name, which the server has checked or drawn.
func requestID(r *http.Request) string { return r.Header.Get("X-Request-Id") }

// clientAddress is the client's, which the server has put in the place of the peer's.
func clientAddress(r *http.Request) netip.Addr {
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return a.Addr().Unmap()
	}
	a, _ := netip.ParseAddr(r.RemoteAddr)
	return a.Unmap()
}

// actor is who makes a change through the API, for the audit.
func actor(r *http.Request) access.Actor {
	a := access.Actor{Kind: "api", RequestID: requestID(r)}
	if address := clientAddress(r); address.IsValid() {
		a.Address = address.String()
	}
	if c := callerOf(r); c.User.ID != 0 {
		a.UserID, a.Label = c.User.ID, c.User.Username
	}
	return a
}

// addLogAttrs adds to the request's line in the access log, if there is one.
func addLogAttrs(w http.ResponseWriter, attrs ...slog.Attr) {
	if l, ok := w.(interface{ AddLogAttrs(attrs ...slog.Attr) }); ok {
		l.AddLogAttrs(attrs...)
	}
}
