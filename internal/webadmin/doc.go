// Package webadmin is the admin web at /admin/: HTML pages for the facility manager and the guard.
//
// It imports gatekeeper, registry, eventlog, throttle and access, never store and never httpapi. Every change goes through registry. Pages work
// without JavaScript; nothing in them is inline, and nothing comes from elsewhere.
//
// # How to add a page
//
//  1. routes.go: a line in routes with the method, the pattern (it ends in "/{$}"), and the least role that may use it. A new section of the rail: a line
//     in sections, a text "nav.<name>" and an icon <name>.
//  2. <noun>.go: a struct that embeds frame and has everything that the page shows, ready to show (moment for instants, words for states; no nouns of the
//     database that the template would have to interpret), and a handler func(w, r) error that fills it in and ends with a.render(w, "<page>", p).
//     visitOf(r) is who looks: v.frame(section, title), v.t, v.n, v.moment, v.actor(). Errors are returned; fail turns them into pages.
//  3. templates/<page>.html: {{define "content"}}. Texts by {{t "key" args}} and {{n "key" number}}, parts from _parts.html and _form.html, actions only inside
//     {{if .May "POST /admin/…/{$}"}}. At most one .button.primary.
//  4. texts_<area>.go: each text in both languages.
//  5. A POST ends with v.done(w, r, to, "flash.…", …), which sends the browser on. Bad input: v.faults puts what is wrong beside the fields, and the form is
//     shown again with status 422 and what was entered. A form that changes something carries its version: see conflict.go.
//  6. Tests: a line in rightsOf (roles_test.go) for each route and one in samples (render_test.go) for each template (both fail without), and a line in visits
//     (browser_test.go) for each page, and each state of it, that a real browser should look at. Look at it: OPENWAY_SCREENS=1.
package webadmin
