package opstest

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// root is the repository.
const root = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// composeFile is what we look at in compose.yml.
type composeFile struct {
	Services map[string]struct {
		Image       string
		Build       string
		Environment map[string]string
		Ports       []string
		User        string
		ReadOnly    bool     `yaml:"read_only"`
		CapDrop     []string `yaml:"cap_drop"`
		CapAdd      []string `yaml:"cap_add"`
		SecurityOpt []string `yaml:"security_opt"`
		MemLimit    string   `yaml:"mem_limit"`
		PidsLimit   int      `yaml:"pids_limit"`
		Privileged  bool
		Volumes     []string
		DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
		Healthcheck struct {
			Test []string
		}
		StopGracePeriod string `yaml:"stop_grace_period"`
	}
}

func TestComposeKeepsItsPromises(t *testing.T) {
	var c composeFile
	if err := yaml.Unmarshal([]byte(read(t, "compose.yml")), &c); err != nil {
		t.Fatal(err)
	}
	db, web := c.Services["db"], c.Services["web"]
	for name, holds := range map[string]bool{
		"the database is PostgreSQL 16":                   db.Image == "postgres:16",
		"the database has its health check":               len(db.Healthcheck.Test) > 0 && strings.Contains(db.Healthcheck.Test[1], "pg_isready"),
		"the database is not published":                   len(db.Ports) == 0,
		"web waits for a healthy database":                web.DependsOn["db"].Condition == "service_healthy",
		"web uses the database that is started":           web.Environment["DB_HOST"] == "${DB_HOST:-db}" && web.Environment["POSTGRES_DB"] == db.Environment["POSTGRES_DB"],
		"web is on 8001:8000":                             slices.Equal(web.Ports, []string{"${OPENWAY_PUBLISH:-8001}:8000"}) && web.Environment["OPENWAY_LISTEN"] == ":8000",
		"web has no capability":                           slices.Equal(web.CapDrop, []string{"ALL"}) && len(web.CapAdd) == 0,
		"web gains no privileges":                         slices.Contains(web.SecurityOpt, "no-new-privileges:true") && !web.Privileged,
		"web's root is read-only":                         web.ReadOnly,
		"web is uid 1000":                                 web.User == "1000:1000",
		"web has limits":                                  web.MemLimit != "" && web.PidsLimit > 0,
		"web's health is asked without a host name":       slices.Equal(web.Healthcheck.Test, []string{"CMD", "/openway", "healthcheck"}),
		"web has time to drain":                           web.StopGracePeriod == "15s",
		"no secret has a default":                         strings.HasPrefix(web.Environment["OPENWAY_SECRET_KEY"], "${OPENWAY_SECRET_KEY:?") && strings.HasPrefix(db.Environment["POSTGRES_PASSWORD"], "${POSTGRES_PASSWORD:?"),
		"the database gains no privileges and drops caps": slices.Contains(db.SecurityOpt, "no-new-privileges:true") && slices.Equal(db.CapDrop, []string{"ALL"}),
	} {
		if !holds {
			t.Errorf("compose.yml: %s: no longer so", name)
		}
	}
}

var assignment = regexp.MustCompile(`(?m)^#?([A-Z][A-Z0-9_]*)=`)

// TestExamplesNameWhatIsRead: a setting that an example sets and nobody reads is a trap.
func TestExamplesNameWhatIsRead(t *testing.T) {
	compose := read(t, "compose.yml")
	for _, file := range []string{".env.example", ".env.prod.example"} {
		for _, m := range assignment.FindAllStringSubmatch(read(t, file), -1) {
			if !strings.Contains(compose, "${"+m[1]) {
				t.Errorf("%s sets %s, which compose.yml does not use", file, m[1])
			}
		}
	}
	var used composeFile
	if err := yaml.Unmarshal([]byte(compose), &used); err != nil {
		t.Fatal(err)
	}
	known := settings(t)
	for name := range used.Services["web"].Environment {
		if !known[name] {
			t.Errorf("compose.yml gives web %s, which openway does not read", name)
		}
	}
	// Nor may a limit in .env be none because it does not reach the container.
	for name := range known {
		alias := strings.HasPrefix(name, "OPENWAY_ACCESS_") || strings.HasPrefix(name, "OPENWAY_ALLOWED_") || strings.HasPrefix(name, "OPENWAY_CORS_")
		if limit := strings.HasSuffix(name, "_RATE") || strings.HasSuffix(name, "_DAYS") || name == "OPENWAY_METRICS_LISTEN"; limit && !alias && used.Services["web"].Environment[name] == "" {
			t.Errorf("compose.yml does not hand %s on", name)
		}
	}
	for _, m := range assignment.FindAllStringSubmatch(read(t, "ops/systemd/openway.env.example"), -1) {
		if !known[m[1]] {
			t.Errorf("openway.env.example sets %s, which openway does not read", m[1])
		}
	}
}

// settings are the variables that openway reads: those that its help names, and the secrets, which have no flag.
func settings(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{"OPENWAY_SECRET_KEY": true, "OPENWAY_SECRET_KEY_FALLBACKS": true, "POSTGRES_PASSWORD": true}
	out, err := exec.Command(staticBinary(t), "serve", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\$([A-Z][A-Z0-9_]+)`).FindAllStringSubmatch(string(out), -1) {
		known[m[1]] = true
	}
	return known
}

func TestDockerfileKeepsItsPromises(t *testing.T) {
	text := read(t, "Dockerfile")
	_, last, _ := strings.Cut(text, "\nFROM scratch\n")
	for _, want := range []string{
		"USER 1000:1000\n", `HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["/openway", "healthcheck"]` + "\n",
		`ENTRYPOINT ["/openway"]`, "OPENWAY_LISTEN=:8000", "EXPOSE 8000\n",
	} {
		if !strings.Contains(last, want) {
			t.Errorf("the final image, which is made from nothing, lacks %q", want)
		}
	}
	if strings.Contains(last, "\nRUN ") {
		t.Error("the final image runs a command: there is no shell in it")
	}
	if !strings.Contains(text, "CGO_ENABLED=0") {
		t.Error("the binary is not static")
	}
	version := regexp.MustCompile(`golang:([0-9.]+)`).FindStringSubmatch(text)
	if version == nil || !strings.Contains(read(t, "go.mod"), "\ngo "+version[1]) {
		t.Errorf("the image builds with Go %v, go.mod says otherwise", version)
	}
}

// staticBinary is the binary as the Dockerfile builds it.
func staticBinary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "openway")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w -X main.version=v9.9.9", "-o", path, "./cmd/openway")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// inImage enters a directory as the container does: it is the root, read-only, but for /data and /tmp; uid 1000, no capability, nothing gained.
// (The three that are left are what chroot needs; they are gone with uid 0.)
const inImage = `set -e
mount --bind "$1" "$1"
mount -t tmpfs -o uid=1000,gid=1000,mode=700 tmpfs "$1/data"
mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
mount -o remount,ro,bind "$1"
image=$1
shift
exec setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid --inh-caps=-all chroot --userspec=1000:1000 "$image" /openway "$@"`

// TestTheImageServes runs the static binary as the image would: nothing else on a read-only root, as uid 1000, without capabilities,
// whatever ALLOWED_HOSTS says.
func TestTheImageServes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test makes a chroot: run it as root (sudo --preserve-env=PATH,HOME ./scripts/test.sh)")
	}
	image := t.TempDir()
	for _, dir := range []string{"data", "tmp", "etc"} {
		if err := os.Mkdir(filepath.Join(image, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(image, "etc/passwd"), []byte("app:x:1000:1000::/data:/sbin/nologin\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(staticBinary(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(image, "openway"), binary, 0o755); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "sh", "-c", inImage, "sh", image, "serve")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "OPENWAY_LISTEN=127.0.0.1:0", "OPENWAY_DATABASE=/data/openway.db", "OPENWAY_LOG_FORMAT=json", "ALLOWED_HOSTS=only.example.org", "OPENWAY_ENV=production"}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 0 {
			t.Errorf("it did not end as asked: %v", err)
		}
	}()

	address := listeningAt(t, out)
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/docs/": 400} {
		resp, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s: status %d, want %d", path, resp.StatusCode, want)
		}
	}
	check := exec.Command("unshare", "--mount", "sh", "-c", inImage, "sh", image, "healthcheck", "--listen", address)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("the image's health check: %v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(image, "data", "openway.db")); err == nil {
		t.Error("the database landed outside /data's volume: the mounts of this test mean nothing")
	}
}

var listening = regexp.MustCompile(`"message":"listening".*"address":"([^"]+)"`)

// listeningAt waits for the server to say where it listens, and keeps reading its log after that.
func listeningAt(t *testing.T, out io.Reader) string {
	t.Helper()
	found, lines := make(chan string, 1), bufio.NewScanner(out)
	go func() {
		defer close(found)
		for lines.Scan() {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				found <- m[1]
			}
		}
	}()
	select {
	case a, ok := <-found:
		if !ok {
			t.Fatal("the server ended before it listened")
		}
		return a
	case <-time.After(time.Minute):
		t.Fatal("the server does not listen")
	}
	return ""
}
