package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/openway-access/openway/internal/storetest"
)

// observed starts a server on HTTPS whose metrics can be read, and lets it see a bit of everything.
func observed(t *testing.T, engine string) (p *process, page string, scrape func() string) {
	t.Helper()
	in := install(t, engine).withAnna()
	a := newAuthority(t)
	cert, key := a.issue(t, 1)
	write(t, filepath.Join(in.dir, "cert.pem"), cert)
	write(t, filepath.Join(in.dir, "key.pem"), key)
	in.env = append(in.env, "OPENWAY_TLS_CERT=cert.pem", "OPENWAY_TLS_KEY=key.pem", "OPENWAY_LOGIN_RATE=3/minute", "OPENWAY_ANON_RATE=off")
	p = in.serve("--http-listen=off", "--metrics-listen=127.0.0.1:0")
	client, url := a.client(true), "https://"+p.address
	for range 5 {
		send(t, client, "POST", url+verifyURL, annasQuestion)
	}
	send(t, client, "POST", url+verifyURL, `{"gate_id":"front","token":"not-the-token-of-anna"}`)
	send(t, client, "POST", url+verifyURL, `garbage`)
	for i := range 40 { // whatever clients send makes no series
		send(t, client, "POST", url+verifyURL, fmt.Sprintf(`{"gate_id":"invented-%d","token":"token-of-anna"}`, i))
		send(t, client, "GET", fmt.Sprint(url, "/invented/", i), "")
		send(t, client, fmt.Sprint("INVENTED", i), url+verifyURL, "")
	}
	for range 5 {
		send(t, client, "POST", url+"/api/v1/auth/token", `{"username":"anna","password":"wrong"}`)
	}
	send(t, client, "GET", url+"/docs/", "")
	page = "http://" + p.listens(t, "showing metrics")
	return p, page, func() string {
		t.Helper()
		m := send(t, client, "GET", page+"/metrics", "")
		if m.StatusCode != 200 {
			t.Fatalf("/metrics: %d %s", m.StatusCode, m.body)
		}
		return m.body
	}
}

func TestMetrics(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			p, page, scrape := observed(t, engine)
			got := scrape()
			for _, want := range []string{
				`openway_decisions_total{decision="ALLOW",gate="front",reason="OK"} 5`,
				`openway_decisions_total{decision="DENY",gate="front",reason="TOKEN_INVALID"} 1`,
				`openway_decisions_total{decision="DENY",gate="",reason="INVALID_REQUEST"} 1`,
				`openway_decisions_total{decision="DENY",gate="",reason="UNKNOWN_GATE"} 40`,
				`openway_decisions_total{decision="DENY",gate="",reason="UNAVAILABLE"} 0`,
				`openway_http_requests_total{code="200",route="/api/v1/access/verify"} 47`,
				`openway_http_requests_total{code="404",route="other"} 40`,
				`openway_http_requests_total{code="405",route="/api/v1/access/verify"} 40`,
				`openway_http_requests_total{code="200",route="/docs/"} 1`,
				`openway_http_request_duration_seconds_count{route="/docs/"} 1`,
				`openway_logins_total{result="failed"} 3`,
				`openway_logins_throttled_total 2`,
				`openway_verify_throttled_total 0`,
				`openway_verify_duration_seconds_count 87`,
				`openway_snapshot_objects{kind="gate"} 1`,
				`openway_database_up 1`,
				`openway_eventlog_queue 0`,
				`openway_log_lines_dropped_total 0`,
				`engine="` + engine + `"`,
			} {
				if !strings.Contains(got, want) {
					t.Errorf("no %s", want)
				}
			}
			for _, more := range []string{"openway_commit_batch_events_count", "openway_commit_duration_seconds_sum", "openway_database_size_bytes", "openway_snapshot_bytes", "openway_certificate_expires_timestamp_seconds", "go_goroutines", "process_resident_memory_bytes"} {
				if m := regexp.MustCompile(`(?m)^` + more + ` ([0-9.e+-]+)$`).FindStringSubmatch(got); m == nil || m[1] == "0" {
					t.Errorf("%s is %v, want more than 0", more, m)
				}
			}
			if strings.Contains(strings.ToLower(got), "invented") {
				t.Error("what clients invented stands in the metrics")
			}
			if t.Failed() {
				t.Log(got)
			}
			lint := exec.Command("promtool", "check", "metrics")
			lint.Stdin = strings.NewReader(got)
			if out, err := lint.CombinedOutput(); err != nil {
				t.Errorf("promtool check metrics: %v\n%s", err, out)
			}
			client := newAuthority(t).client(false)
			for path, want := range map[string]int{"/": 404, verifyURL: 404, "/docs/": 404, "/healthz": 200} {
				if a := send(t, client, "GET", page+path, ""); a.StatusCode != want {
					t.Errorf("GET %s where metrics are: %d, want %d", path, a.StatusCode, want)
				}
			}
			if a := send(t, client, "POST", page+"/metrics", "x"); a.StatusCode != 405 {
				t.Errorf("POST /metrics: %d, want 405", a.StatusCode)
			}
			if strings.Contains(p.log.String(), "GET /metrics 200") {
				t.Error("every scrape is logged")
			}
		})
	}
}

func TestNoMetricsUnlessAskedFor(t *testing.T) {
	in := install(t, "sqlite")
	p := in.serve()
	if a := send(t, newAuthority(t).client(false), "GET", "http://"+p.address+"/metrics", ""); a.StatusCode != 404 {
		t.Errorf("/metrics beside the API: %d, want 404", a.StatusCode)
	}
	if strings.Contains(p.log.String(), "showing metrics") {
		t.Errorf("a listener for metrics:\n%s", p.log)
	}
}

// alert is one rule of ops/prometheus/alerts.yml.
type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Annotations map[string]string `yaml:"annotations"`
}

func alerts(t *testing.T) (all []alert) {
	t.Helper()
	text, err := os.ReadFile("../../ops/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []alert } }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("%d alerts were read", len(all))
	}
	return all
}

// Each alert fires when it must and only then, has a page that says what to do, and looks at metrics that there are.
func TestAlerts(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		c := exec.Command("promtool", args...)
		c.Dir = "../../ops/prometheus"
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
	tests, err := os.ReadFile("../../ops/prometheus/alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	_, _, scrape := observed(t, "sqlite")
	shown := scrape()
	names := regexp.MustCompile(`\b(openway|process|go)_[a-z_]+`)
	selector := regexp.MustCompile(`\{([^}]*)\}`)
	label := regexp.MustCompile(`([a-z]+)="([^"]*)"`)
	for _, a := range alerts(t) {
		if !strings.Contains(string(tests), "alertname: "+a.Alert+", exp_alerts: []") || !strings.Contains(string(tests), `alertname="`+a.Alert+`", alertstate="firing"`) {
			t.Errorf("%s: alerts_test.yml does not try it on a healthy site and on one in trouble", a.Alert)
		}
		page := filepath.Join("../..", a.Annotations["runbook_url"])
		if text, err := os.ReadFile(page); err != nil || a.Annotations["runbook_url"] != "docs/runbooks/"+a.Alert+".md" || !strings.HasPrefix(string(text), "# "+a.Alert+"\n") {
			t.Errorf("%s: no page of its own at %q: %v", a.Alert, a.Annotations["runbook_url"], err)
		}
		for _, name := range names.FindAllString(a.Expr, -1) {
			if !regexp.MustCompile(`(?m)^` + name + `[{ ]`).MatchString(shown) {
				t.Errorf("%s: %s is not on /metrics", a.Alert, name)
			}
		}
		for _, s := range selector.FindAllString(a.Expr, -1) {
			for _, l := range label.FindAllStringSubmatch(s, -1) {
				if l[1] != "job" && !strings.Contains(shown, l[0]) {
					t.Errorf("%s: no series has %s", a.Alert, l[0])
				}
			}
		}
	}
}
