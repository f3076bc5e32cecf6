package webadmin

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/openway-access/openway/internal/access"
)

//go:embed all:templates
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

// frame is what every page hands to the layout. Pages are structs that embed it.
type frame struct {
	*visit
	Title   string
	Section string // of the rail; "" = none is marked
	Status  int    // of the answer; 0 = 200
}

func (f *frame) base() *frame { return f }

// page is a struct that embeds frame.
type page interface{ base() *frame }

// frame begins a page of a section of the rail.
func (v *visit) frame(section, title string) frame {
	return frame{visit: v, Section: section, Title: title}
}

// What templates ask of a visit. All of it is about who looks and how; what they look at is in the page's own fields.

// May reports whether the visitor may use a route, named "METHOD pattern" as in routes.
func (v *visit) May(route string) bool {
	rt, ok := v.admin.table[route]
	if !ok {
		panic("webadmin: a template asks for the route " + route + ", which is not there")
	}
	return v.role().Includes(rt.role)
}

// Lang is the language of the page: "en" or "ru".
func (v *visit) Lang() string { return string(v.lang) }

// OtherLang is the one it is not, to switch to.
func (v *visit) OtherLang() string {
	if v.lang == russian {
		return string(english)
	}
	return string(russian)
}

// Theme is "light", "dark", or "" = as the system has it.
func (v *visit) Theme() string { return v.theme }

// Path is the page's own, to come back to.
func (v *visit) Path() string { return v.path }

// SignedIn reports whether somebody is.
func (v *visit) SignedIn() bool { return v.session.ID != 0 }

// UserID is the visitor's id.
func (v *visit) UserID() int64 { return v.user.ID }

// Me is how the visitor is called.
func (v *visit) Me() string { return fullName(v.user) }

// Role is the visitor's, in words.
func (v *visit) Role() string { return v.t("role." + string(v.role())) }

// RequestID names this request in the server's log.
func (v *visit) RequestID() string { return v.requestID }

// Flash is what the page before this one had to say.
func (v *visit) Flash() *flash { return v.flash }

// railEntry is one line of the rail.
type railEntry struct {
	Name, Path string
	Label      string
	Here       bool
}

// Rail lists the sections that the visitor may see.
func (f *frame) Rail() []railEntry {
	var rail []railEntry
	for _, s := range sections() {
		if f.May("GET " + s.path + "{$}") {
			rail = append(rail, railEntry{s.name, s.path, f.t("nav." + s.name), s.name == f.Section})
		}
	}
	return rail
}

// onBar is how many sections stand in the bar at the foot of a phone.
const onBar = 3

// Bar is the part of the rail in the bar at the foot of a phone.
func (f *frame) Bar() []railEntry {
	rail := f.Rail()
	return rail[:min(onBar, len(rail))]
}

// More is the rest of the rail.
func (f *frame) More() []railEntry {
	rail := f.Rail()
	return rail[min(onBar, len(rail)):]
}

// pages holds the templates by language and name. A page's name is that of its file, without .html. Each is parsed when it is first asked for: all of
// them are 7 MB of small pieces, which the garbage collector of a server that nobody administers just now would go through again and again.
type pages map[language]map[string]func() (*template.Template, error)

// findPages finds the pages. layout.html and the files that begin with _ (parts that pages share) are parsed into every one.
func findPages(a assets) (pages, error) {
	files, err := fs.Glob(templateFiles, "templates/[a-z]*.html")
	if err != nil {
		return nil, err
	}
	all := pages{}
	for _, l := range languages() {
		all[l] = map[string]func() (*template.Template, error){}
		shared := sync.OnceValues(func() (*template.Template, error) {
			return template.New("layout.html").Funcs(functions(l, a)).ParseFS(templateFiles, "templates/layout.html", "templates/_*.html")
		})
		for _, file := range files {
			name := strings.TrimSuffix(path.Base(file), ".html")
			if name == "layout" {
				continue
			}
			all[l][name] = sync.OnceValues(func() (*template.Template, error) {
				t, err := shared()
				if err == nil {
					t, err = t.Clone()
				}
				if err == nil {
					t, err = t.ParseFS(templateFiles, file)
				}
				if err != nil {
					return nil, fmt.Errorf("parse the page %s: %w", name, err)
				}
				return t, nil
			})
		}
	}
	return all, nil
}

func (p pages) page(l language, name string) (*template.Template, error) {
	parse := p[l][name]
	if parse == nil {
		return nil, fmt.Errorf("there is no page %q", name)
	}
	return parse()
}

// functions are those that templates have besides the fields and methods of their page.
func functions(l language, a assets) template.FuncMap {
	return template.FuncMap{
		"t":        func(key string, args ...any) string { return say(l, key, args...) },
		"n":        func(key string, n int, args ...any) string { return count(l, key, n, args...) },
		"num":      func(n int) string { return number(l, n) },
		"icon":     icon,
		"asset":    a.url,
		"initials": initials,
	}
}

// render answers with a page.
func (a *Admin) render(w http.ResponseWriter, name string, p page) error {
	f := p.base()
	var b bytes.Buffer
	t, err := a.pages.page(f.lang, name)
	if err != nil {
		return err
	}
	if err := t.Execute(&b, p); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", f.Lang())
	h.Set("Cache-Control", "no-store") // the way back after signing out must not show what was there
	if f.Status == 0 {
		f.Status = http.StatusOK
	}
	w.WriteHeader(f.Status)
	_, _ = w.Write(b.Bytes()) // an error means that the reader has gone
	return nil
}

// assets are the static files by name; their URLs change with their content.
type assets struct {
	byURL  map[string]asset  // by the last part of the URL
	byName map[string]string // its URL
}

type asset struct {
	mediaType string
	content   []byte
}

func readAssets() (assets, error) {
	all := assets{map[string]asset{}, map[string]string{}}
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	err := fs.WalkDir(staticFiles, "static", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := staticFiles.ReadFile(p)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		name, extension := path.Base(p), path.Ext(p)
		hashed := strings.TrimSuffix(name, extension) + "." + hex.EncodeToString(sum[:6]) + extension
		all.byURL[hashed] = asset{types[extension], content}
		all.byName[name] = "/admin/static/" + hashed
		return nil
	})
	if err != nil {
		return assets{}, fmt.Errorf("read the static files: %w", err)
	}
	return all, nil
}

// url is where a static file is to be had.
func (a assets) url(name string) (string, error) {
	u, ok := a.byName[name]
	if !ok {
		return "", fmt.Errorf("there is no static file %s", name)
	}
	return u, nil
}

// static answers with a static file. Its URL is good for one content only, so that browsers need not ask again.
func (a *Admin) static(w http.ResponseWriter, r *http.Request) error {
	f, ok := a.assets.byURL[r.PathValue("file")]
	if !ok {
		return fmt.Errorf("static file %q: %w", r.PathValue("file"), access.ErrNotFound)
	}
	w.Header().Set("Content-Type", f.mediaType)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(f.content)
	return nil
}

// fullName is how a person is called: first and last name, else the user name.
func fullName(u access.User) string {
	if name := strings.TrimSpace(u.FirstName + " " + u.LastName); name != "" {
		return name
	}
	return u.Username
}

// initials are the letters of an avatar: of the first two words of a name.
func initials(name string) string {
	var b strings.Builder
	n := 0
	for word := range strings.FieldsFuncSeq(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		r, _ := utf8.DecodeRuneInString(word)
		b.WriteRune(unicode.ToUpper(r))
		if n++; n == 2 {
			break
		}
	}
	if n == 0 {
		return "?"
	}
	return b.String()
}
