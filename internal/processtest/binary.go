package processtest

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// builds are the binaries that were built for this test process.
type builds struct {
	mu   sync.Mutex
	dir  string             // made by Main, which removes it
	done map[string]*binary // by edits
}

type binary struct {
	once sync.Once
	path string
	err  error
}

var built = builds{done: map[string]*binary{}}

// Main runs the tests and removes the binaries that were built for them.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "openway-process")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	built.dir = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Edit replaces one piece of the source, for a binary that shows what would be without it. The repository itself stays as it is, and
// what people run has no switch for it.
type Edit struct {
	File     string // from the root of the module
	Old, New string // Old must stand there exactly once
}

// Build builds openway, once for the same edits, and returns the path of the binary.
func Build(edits ...Edit) (string, error) {
	key := fmt.Sprint(edits)
	built.mu.Lock()
	b := built.done[key]
	if b == nil {
		b = &binary{}
		built.done[key] = b
	}
	dir := built.dir
	built.mu.Unlock()
	b.once.Do(func() { b.path, b.err = build(dir, edits) })
	return b.path, b.err
}

func build(dir string, edits []Edit) (string, error) {
	if dir == "" {
		return "", fmt.Errorf("no place for binaries: TestMain must call processtest.Main")
	}
	dir, err := os.MkdirTemp(dir, "")
	if err != nil {
		return "", err
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	if err := look(root); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "openway")
	args := []string{"build", "-o", path}
	if len(edits) > 0 {
		overlay, err := overlay(root, dir, edits)
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", overlay)
	}
	c := exec.Command("go", append(args, "./cmd/openway")...)
	c.Dir = root
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build openway: %w\n%s", err, out)
	}
	return path, nil
}

// look looks at every file that the binary is made of: the go command sees that, and does not take the result of an earlier run for this one's
// when one of them has changed.
func look(root string) error {
	for _, part := range []string{"go.mod", "go.sum", "api", "cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, part), func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// overlay writes the altered files and the list that go build takes.
func overlay(root, dir string, edits []Edit) (string, error) {
	replaced := map[string]string{}
	for i, e := range edits {
		original := filepath.Join(root, e.File)
		from := original
		if earlier, ok := replaced[original]; ok {
			from = earlier
		}
		source, err := os.ReadFile(from)
		if err != nil {
			return "", err
		}
		if n := strings.Count(string(source), e.Old); n != 1 {
			return "", fmt.Errorf("%s holds %q %d times, want once: the edit no longer fits the source", e.File, e.Old, n)
		}
		to := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(to, []byte(strings.Replace(string(source), e.Old, e.New, 1)), 0o600); err != nil {
			return "", err
		}
		replaced[original] = to
	}
	list, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, list, 0o600)
}

// Root is the directory of the module.
func Root() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module's directory: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
