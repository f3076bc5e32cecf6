package webadmin

import (
	"net/http"

	"github.com/openway-access/openway/internal/access"
)

// route is one method of one path, and who may use it. Role None is anybody, signed in or not; Viewer is everybody who can sign in.
type route struct {
	method  string // GET answers HEAD as well
	pattern string
	role    access.Role
	answer  func(w http.ResponseWriter, r *http.Request) error
}

// routes is the whole of the admin pages. Templates ask it by "METHOD pattern" (May) what to show; TestRolesAndRoutes holds every line of it.
func (a *Admin) routes() []route {
	const (
		anybody = access.None
		viewer  = access.Viewer
		manager = access.Manager
		owner   = access.Owner
	)
	return []route{
		{"GET", "/admin/static/{file}", anybody, a.static},
		{"GET", "/admin/login/{$}", anybody, a.loginPage},
		{"POST", "/admin/login/{$}", anybody, a.login},
		{"POST", "/admin/logout/{$}", anybody, a.logout},
		{"POST", "/admin/preferences/{$}", anybody, a.setPreferences},

		{"GET", "/admin/{$}", viewer, a.overview},
		{"GET", "/admin/account/{$}", viewer, a.accountPage},
		{"POST", "/admin/account/password/{$}", viewer, a.changePassword},
		{"POST", "/admin/account/sessions/end/{$}", viewer, a.endSession},
		{"POST", "/admin/account/sessions/end-all/{$}", viewer, a.endSessions},

		{"GET", "/admin/events/{$}", viewer, a.eventList},
		{"GET", "/admin/events/stream/{$}", viewer, a.eventStream},
		{"GET", "/admin/events/export/{$}", viewer, a.exportEvents},
		{"GET", "/admin/events/{event}/{$}", viewer, a.eventPage},

		{"GET", "/admin/gates/{$}", viewer, a.gateList},
		{"GET", "/admin/gates/new/{$}", owner, a.newGate},
		{"POST", "/admin/gates/new/{$}", owner, a.createGate},
		{"GET", "/admin/gates/{gate}/{$}", viewer, a.gatePage},
		{"GET", "/admin/gates/{gate}/edit/{$}", owner, a.editGate},
		{"POST", "/admin/gates/{gate}/edit/{$}", owner, a.updateGate},
		{"GET", "/admin/gates/{gate}/delete/{$}", owner, a.confirmDeleteGate},
		{"POST", "/admin/gates/{gate}/delete/{$}", owner, a.deleteGate},
		{"POST", "/admin/gates/{gate}/permissions/add/{$}", manager, a.letIn},
		{"POST", "/admin/gates/{gate}/permissions/{permission}/suspend/{$}", manager, a.suspendPermission},
		{"POST", "/admin/gates/{gate}/permissions/{permission}/resume/{$}", manager, a.resumePermission},
		{"POST", "/admin/gates/{gate}/permissions/{permission}/remove/{$}", manager, a.removePermission},
	}
}

// section is one entry of the rail. It is shown to those who may use its page.
type section struct {
	name string // the key of its text is "nav."+name, its icon has its name
	path string
}

// sections is the rail, in its order. The first three stand in the bar at the foot of a phone, the others under More.
func sections() []section {
	return []section{
		{"overview", "/admin/"},
		{"events", "/admin/events/"},
		{"gates", "/admin/gates/"},
	}
}
