package webadmin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/openway-access/openway/internal/processtest"
)

func TestMain(m *testing.M) { os.Exit(processtest.Main(m)) }

// TestFromNothingByClicking: an empty database and the real binary become a site that works, by pointer and keyboard alone. A door opens over the API, the
// event comes into the page that is open without a reload, the right is taken away and the door stays shut at once, and the audit tells all of it.
func TestFromNothingByClicking(t *testing.T) {
	database := filepath.Join(t.TempDir(), "openway.db")
	binary, err := processtest.Build()
	if err != nil {
		t.Fatal(err)
	}
	first := exec.Command(binary, "createsuperuser", "--username", "olga", "--email", "olga@example.org", "--no-input")
	first.Env = processtest.Environment(database, "OPENWAY_PASSWORD="+password)
	if out, err := first.CombinedOutput(); err != nil {
		t.Fatalf("createsuperuser: %v\n%s", err, out)
	}
	server := processtest.Serve(t, processtest.Options{Database: database})
	at := "http://" + server.Address

	w := openTab(t, openChromium(t))
	step := func(what string, steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
		defer cancel()
		if err := chromedp.Do(ctx, steps...); err != nil {
			t.Fatalf("%s: %v\nthe page says:\n%s", what, err, ask(t, w, chromedp.Evaluate[string](`document.body?.innerText ?? ""`)))
		}
	}
	click := func(css string) chromedp.Action[chromedp.Void] { return chromedp.Click(chromedp.CSS(css)) }
	enter := func(name, text string) chromedp.Action[chromedp.Void] {
		return chromedp.SendKeys(chromedp.CSS(fmt.Sprintf("main [name=%q]", name)), text)
	}
	// shows waits for a page that has a text. While one page goes and another comes there is nothing to ask: that is asked again.
	shows := func(text string) chromedp.Action[chromedp.Void] {
		condition := fmt.Sprintf(`document.readyState === "complete" && !!document.querySelector("main")?.innerText.includes(%q)`, text)
		return func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
			again := time.NewTicker(50 * time.Millisecond)
			defer again.Stop()
			for {
				if there, err := chromedp.Evaluate[bool](condition)(ctx, target); err == nil && there {
					return chromedp.Void{}, nil
				}
				select {
				case <-again.C:
				case <-ctx.Done():
					return chromedp.Void{}, fmt.Errorf("%q does not come: %w", text, ctx.Err())
				}
			}
		}
	}

	step("sign in", chromedp.EmulateViewport(1280, 900), chromedp.Navigate(at+"/admin/"), enter("username", "olga"), enter("password", password), click("main .primary"), shows("The first steps"))
	step("add a gate", click(".steps .primary"), shows("New gate"), enter("code", "front"), enter("name", "Front door"), click("form.form .primary"), shows("Who may pass"))
	step("add a person", click(`.rail a[href="/admin/"]`), shows("The first steps"), click(".steps .primary"), shows("First name"),
		enter("first_name", "Ann"), enter("last_name", "Porter"), enter("username", "ann"), enter("password", password), click("form.form .primary"), shows("Ann Porter"))
	step("let them in", click(`.rail a[href="/admin/"]`), shows("The first steps"), click(".steps .primary"), shows("Who may pass"),
		enter("who", "ann"), click("main .filters .primary"), shows("no permission for this gate"), click(`main button[name="subject"]`), shows("from now on"))

	// The overview stays open; nothing reloads it.
	step("watch", click(`.rail a[href="/admin/"]`), chromedp.WaitVisible(chromedp.CSS(`[data-state="live"]`)), evaluate(`window.untouched = true`))
	token := post(t, at+"/api/v1/auth/token", map[string]string{"username": "ann", "password": password})["token"]
	pass := map[string]string{"gate_id": "front", "token": fmt.Sprint(token)}
	if got := post(t, at+"/api/v1/access/verify", pass); got["decision"] != "ALLOW" {
		t.Fatalf("the door: %v", got)
	}
	step("the event arrives", shows("may pass"))
	if !ask(t, w, chromedp.Evaluate[bool](`window.untouched === true`)) {
		t.Error("the event arrived because the page was loaded again")
	}

	step("take it away", click(`.rail a[href="/admin/gates/"]`), shows("front"), click(".list .row-link"), shows("Who may pass"), click(".people .menu summary"), click(".people .menu-item.bad"), shows("Nobody may pass"))
	if got := post(t, at+"/api/v1/access/verify", pass); got["decision"] != "DENY" || got["reason"] != "NO_PERMISSION" {
		t.Errorf("the door after that: %v", got)
	}
	step("why", click(`.rail a[href="/admin/events/"]`), shows("no permission for this gate"), click(".list .row-link"), shows("taken away"))
	step("the audit", click(`.rail a[href="/admin/audit/"]`), shows("Front door"))
	audit := ask(t, w, chromedp.Evaluate[string](`document.querySelector("main").innerText`))
	for _, line := range []string{"olga", "Ann Porter", "Permission"} {
		if !strings.Contains(audit, line) {
			t.Errorf("the audit does not tell of %q:\n%s", line, audit)
		}
	}
	if troubles := w.gone(); len(troubles) > 0 {
		t.Errorf("the browser says: %q", troubles)
	}
}

// post sends JSON as a client of the API does, and returns what it was answered.
func post(t *testing.T, url string, body any) map[string]any {
	t.Helper()
	b := must(json.Marshal(body))(t)
	resp := must(http.Post(url, "application/json", bytes.NewReader(b)))(t)
	defer resp.Body.Close()
	b = must(io.ReadAll(resp.Body))(t)
	var answer map[string]any
	if err := json.Unmarshal(b, &answer); err != nil {
		t.Fatalf("POST %s: %s: %s", url, resp.Status, b)
	}
	return answer
}
