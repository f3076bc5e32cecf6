package webadmin

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// dynamicTexts are the keys that code puts together, by what they begin with.
func dynamicTexts() map[string][]string {
	all := map[string][]string{}
	for _, s := range sections() {
		all["nav."] = append(all["nav."], s.name)
	}
	for _, r := range []access.Role{access.Viewer, access.Manager, access.Owner} {
		all["role."] = append(all["role."], string(r))
	}
	for _, status := range []int{400, 403, 404, 405, 409, 413, 500, 503} {
		all["error."] = append(all["error."], strconv.Itoa(status), strconv.Itoa(status)+".hint")
	}
	for _, c := range []access.Code{
		access.CodeRequired, access.CodeBlank, access.CodeNull, access.CodeNUL, access.CodeSurrogate, access.CodeTooLong, access.CodeTooShort, access.CodeNotString,
		access.CodeNotBoolean, access.CodeNotInteger, access.CodeIntegerLong, access.CodeRange, access.CodeCharacters, access.CodeTaken, access.CodeUnknown, access.CodeZone, access.CodePeriod,
		access.CodeEmail, access.CodePasswordShort, access.CodePasswordKnown, access.CodePasswordDigit, access.CodePasswordAlike, access.CodePasswordUsed,
	} {
		all["fault."] = append(all["fault."], string(c))
	}
	for _, r := range []access.Reason{
		access.RateLimit, access.InvalidRequest, access.UnknownGate, access.TokenInvalid, access.DeviceInactive, access.NoPermission, access.OK, access.Unavailable,
		access.DeviceNotFound, access.DeviceMismatch, access.NoteUnavailable, access.NoteUnanswered,
	} {
		all["reason."] = append(all["reason."], string(r))
	}
	for _, o := range []access.Outcome{access.Allow, access.Deny} {
		all["decision."] = append(all["decision."], string(o))
	}
	for _, c := range []registry.Cause{
		registry.CauseSuspended, registry.CauseNotYet, registry.CauseOver, registry.CauseTakenAway, registry.CauseNoPermission, registry.CauseDevice, registry.CauseUserInactive,
		registry.CauseUserDeleted, registry.CauseTokenNotYet, registry.CauseTokenOver, registry.CauseTokenIdle, registry.CauseTokenEnded, registry.CauseTokenUnknown,
		registry.CauseGateUnknown, registry.CauseGateDeleted, registry.CauseGateLater,
	} {
		all["cause."] = append(all["cause."], string(c))
	}
	for _, r := range []access.Reason{access.RateLimit, access.InvalidRequest, access.Unavailable} {
		all["cause.other."] = append(all["cause.other."], string(r))
	}
	for _, s := range []registry.GrantState{registry.GrantHolds, registry.GrantSuspended, registry.GrantNotYet, registry.GrantOver, registry.GrantGone, registry.GrantNone} {
		all["grant."] = append(all["grant."], string(s))
	}
	for _, k := range []access.CredentialKind{access.UserToken, access.DeviceToken} {
		all["credential."] = append(all["credential."], string(k))
	}
	all["object."] = append(access.Objects(), "other")
	all["action."] = append(access.Actions(), "other")
	for _, state := range append(cellStates(), "mixed") {
		all["cell."] = append(all["cell."], string(state))
	}
	for _, state := range cellStates() {
		all["flash.cell."] = append(all["flash.cell."], string(state))
	}
	all["device."] = []string{"active", "revoked"}
	all["state."] = []string{"active", "inactive", "revoked"}
	all["ended."] = []string{"admin", "deleted", "device", "idle", "lost", "password", "rotated"}
	all["field."] = auditFields()
	all["day."] = []string{"passed", "refused", "people"}
	all["devices.only."] = []string{"active", "revoked"}
	return all
}

// auditFields are the names of fields in the audit.
func auditFields() []string {
	return []string{
		"active", "agent", "allow", "android_device_id", "before", "code", "count", "default_release_ms", "deleted", "device_id", "email", "first_name", "format", "gate_id",
		"group_id", "key", "kind", "label", "language", "last_name", "location", "name", "release_ms", "retention_days", "role", "sessions", "site_id", "staff", "state",
		"state_reason", "superuser", "tokens", "usable", "user_id", "username", "valid_from", "valid_until", "zone",
		// of a backup, an import and a restore
		"directory", "encrypted", "file", "size", "taken_at", "verified",
		"source", "fields", "users", "former passwords", "groups", "memberships", "gates", "permissions", "user tokens", "devices", "events", "audit lines",
		"rows", "safety_backup", "events carried over", "unknown since the backup", "people erased", "passwords replaced", "users deleted", "groups deleted", "gates deleted",
		"permissions deleted", "devices deleted", "credentials deleted", "users deactivated", "superusers demoted", "staff demoted", "permissions suspended", "permissions ended",
		"permissions shortened", "permissions put off", "devices revoked", "credentials revoked", "credentials shortened", "memberships ended", "roles ended", "roles lowered",
	}
}

var key = regexp.MustCompile(`^[a-z_]+(\.[A-Za-z0-9_]+)+$`)

// usedTexts are the keys that stand in the code and in the templates, with where; counted says which of them go with a number.
func usedTexts(t *testing.T) (used map[string]string, counted map[string]bool) {
	t.Helper()
	used, counted = map[string]string{}, map[string]bool{}
	areas := map[string]bool{}
	for k := range catalogue() {
		area, _, _ := strings.Cut(k, ".")
		areas[area] = true
	}
	files := token.NewFileSet()
	entries := must(os.ReadDir("."))(t)
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") || strings.HasPrefix(e.Name(), "texts_") {
			continue
		}
		parsed := must(parser.ParseFile(files, e.Name(), nil, 0))(t)
		ast.Inspect(parsed, func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok && len(c.Args) > 0 {
				if f, ok := c.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "n" {
					if s, ok := c.Args[0].(*ast.BasicLit); ok {
						counted[must(strconv.Unquote(s.Value))(t)] = true
					}
				}
			}
			s, ok := n.(*ast.BasicLit)
			if !ok || s.Kind != token.STRING {
				return true
			}
			text := must(strconv.Unquote(s.Value))(t)
			if area, _, _ := strings.Cut(text, "."); key.MatchString(text) && areas[area] {
				used[text] = files.Position(s.Pos()).String()
			}
			return true
		})
	}
	calls := regexp.MustCompile(`\b([tn]) "([^"]+)"`)
	for _, file := range must(fs.Glob(templateFiles, "templates/*.html"))(t) {
		content := must(templateFiles.ReadFile(file))(t)
		for _, m := range calls.FindAllStringSubmatch(string(content), -1) {
			used[m[2]] = file
			if m[1] == "n" {
				counted[m[2]] = true
			}
		}
	}
	for prefix, names := range dynamicTexts() {
		for _, name := range names {
			used[prefix+name] = "dynamicTexts"
		}
	}
	return used, counted
}

func TestTexts(t *testing.T) {
	used, counted := usedTexts(t)
	verbs := regexp.MustCompile(`%[a-z]`)
	for k, where := range used {
		if _, ok := catalogue()[k]; !ok {
			t.Errorf("%s uses the text %q, which is not in the catalogue", where, k)
		}
	}
	for k, w := range catalogue() {
		if used[k] == "" {
			t.Errorf("nothing uses the text %q", k)
		}
		if w.en == "" || w.ru == "" {
			t.Errorf("%q is not there in both languages", k)
		}
		en, ru := strings.Split(w.en, "|"), strings.Split(w.ru, "|")
		if (len(en) > 1 || len(ru) > 1) && (len(en) != 2 || len(ru) != 3) {
			t.Errorf("%q has %d forms in English and %d in Russian, want 2 and 3", k, len(en), len(ru))
		}
		if counted[k] && len(en) != 2 {
			t.Errorf("%q goes with a number and has one form only", k)
		}
		want := verbs.FindAllString(en[len(en)-1], -1)
		for _, form := range slices.Concat(en, ru) {
			if got := verbs.FindAllString(form, -1); !slices.Equal(got, want) {
				t.Errorf("%q: %q has %v to fill in, others %v", k, form, got, want)
			}
			if form != strings.TrimSpace(form) {
				t.Errorf("%q begins or ends with white space", k)
			}
		}
	}
	n := 0
	for _, area := range areas() {
		n += len(area)
	}
	if n != len(catalogue()) {
		t.Errorf("%d texts stand in more than one area", n-len(catalogue()))
	}
}
