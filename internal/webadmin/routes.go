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

		{"GET", "/admin/users/{$}", viewer, a.userList},
		{"GET", "/admin/users/new/{$}", manager, a.newUser},
		{"POST", "/admin/users/new/{$}", manager, a.createUser},
		{"GET", "/admin/users/bulk/{$}", manager, a.previewBulk},
		{"POST", "/admin/users/bulk/{$}", manager, a.applyBulk},
		{"GET", "/admin/users/{user}/{$}", viewer, a.userPage},
		{"GET", "/admin/users/{user}/refusals/{$}", viewer, a.userRefusals},
		{"GET", "/admin/users/{user}/edit/{$}", manager, a.editUser},
		{"POST", "/admin/users/{user}/edit/{$}", manager, a.updateUser},
		{"POST", "/admin/users/{user}/activate/{$}", manager, a.activateUser},
		{"POST", "/admin/users/{user}/deactivate/{$}", manager, a.deactivateUser},
		{"GET", "/admin/users/{user}/password/{$}", manager, a.userPasswordPage},
		{"POST", "/admin/users/{user}/password/{$}", manager, a.setUserPassword},
		{"GET", "/admin/users/{user}/delete/{$}", manager, a.confirmDeleteUser},
		{"POST", "/admin/users/{user}/delete/{$}", manager, a.deleteUser},
		{"GET", "/admin/users/{user}/erase/{$}", owner, a.confirmEraseUser},
		{"POST", "/admin/users/{user}/erase/{$}", owner, a.eraseUser},
		{"POST", "/admin/users/{user}/groups/add/{$}", manager, a.joinGroup},
		{"POST", "/admin/users/{user}/groups/{group}/remove/{$}", manager, a.leaveGroup},
		{"POST", "/admin/users/{user}/permissions/add/{$}", manager, a.openGate},
		{"POST", "/admin/users/{user}/permissions/{permission}/suspend/{$}", manager, a.suspendPermission},
		{"POST", "/admin/users/{user}/permissions/{permission}/resume/{$}", manager, a.resumePermission},
		{"POST", "/admin/users/{user}/permissions/{permission}/remove/{$}", manager, a.removePermission},
		{"POST", "/admin/users/{user}/tokens/{token}/revoke/{$}", manager, a.revokeToken},
		{"GET", "/admin/users/{user}/tokens/revoke/{$}", manager, a.confirmRevokeTokens},
		{"POST", "/admin/users/{user}/tokens/revoke/{$}", manager, a.revokeTokens},

		{"GET", "/admin/groups/{$}", viewer, a.groupList},
		{"GET", "/admin/groups/new/{$}", manager, a.newGroup},
		{"POST", "/admin/groups/new/{$}", manager, a.createGroup},
		{"GET", "/admin/groups/{group}/{$}", viewer, a.groupPage},
		{"GET", "/admin/groups/{group}/edit/{$}", manager, a.editGroup},
		{"POST", "/admin/groups/{group}/edit/{$}", manager, a.renameGroup},
		{"GET", "/admin/groups/{group}/delete/{$}", manager, a.confirmDeleteGroup},
		{"POST", "/admin/groups/{group}/delete/{$}", manager, a.deleteGroup},
		{"POST", "/admin/groups/{group}/members/add/{$}", manager, a.joinGroup},
		{"POST", "/admin/groups/{group}/members/{user}/remove/{$}", manager, a.leaveGroup},
		{"GET", "/admin/groups/{group}/members/paste/{$}", manager, a.pasteMembers},
		{"POST", "/admin/groups/{group}/members/paste/{$}", manager, a.readMembers},
		{"POST", "/admin/groups/{group}/permissions/add/{$}", manager, a.openGate},
		{"POST", "/admin/groups/{group}/permissions/{permission}/suspend/{$}", manager, a.suspendPermission},
		{"POST", "/admin/groups/{group}/permissions/{permission}/resume/{$}", manager, a.resumePermission},
		{"POST", "/admin/groups/{group}/permissions/{permission}/remove/{$}", manager, a.removePermission},

		{"GET", "/admin/access/{$}", viewer, a.matrix},
		{"POST", "/admin/access/cell/{$}", manager, a.setCell},

		{"GET", "/admin/devices/{$}", viewer, a.deviceList},
		{"GET", "/admin/devices/new/{$}", manager, a.newDevice},
		{"POST", "/admin/devices/new/{$}", manager, a.createDevice},
		{"GET", "/admin/devices/{device}/{$}", viewer, a.devicePage},
		{"GET", "/admin/devices/{device}/edit/{$}", manager, a.editDevice},
		{"POST", "/admin/devices/{device}/edit/{$}", manager, a.updateDevice},
		{"GET", "/admin/devices/{device}/bind/{$}", manager, a.chooseDeviceOwner},
		{"POST", "/admin/devices/{device}/bind/{$}", manager, a.bindDevice},
		{"POST", "/admin/devices/{device}/revoke/{$}", manager, a.revokeDevice},
		{"POST", "/admin/devices/{device}/reactivate/{$}", manager, a.reactivateDevice},
		{"GET", "/admin/devices/{device}/token/{$}", manager, a.askDevice(a.aboutToken)},
		{"POST", "/admin/devices/{device}/token/{$}", manager, a.doDevice(a.aboutToken, a.setDeviceToken)},
		{"GET", "/admin/devices/{device}/lost/{$}", manager, a.askDevice(a.aboutLost)},
		{"POST", "/admin/devices/{device}/lost/{$}", manager, a.doDevice(a.aboutLost, a.loseDevice)},
		{"GET", "/admin/devices/{device}/delete/{$}", manager, a.askDevice(a.aboutDelete)},
		{"POST", "/admin/devices/{device}/delete/{$}", manager, a.doDevice(a.aboutDelete, a.deleteDevice)},

		{"GET", "/admin/audit/{$}", viewer, a.auditList},
		{"GET", "/admin/audit/export/{$}", viewer, a.exportAudit},
		{"GET", "/admin/search/{$}", viewer, a.search},
		{"GET", "/admin/settings/{$}", owner, a.settingsPage},
		{"POST", "/admin/settings/{$}", owner, a.updateSettings},
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
		{"people", "/admin/users/"},
		{"gates", "/admin/gates/"},
		{"groups", "/admin/groups/"},
		{"access", "/admin/access/"},
		{"devices", "/admin/devices/"},
		{"audit", "/admin/audit/"},
		{"settings", "/admin/settings/"},
	}
}
