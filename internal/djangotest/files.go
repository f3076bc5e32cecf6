package djangotest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/openway-access/openway/internal/sitefile"
)

// Variable names the environment variable that points the tests of a whole deployment at a dump of a real one, with the site of the golden corpus.
const Variable = "OPENWAY_DJANGO_DUMP"

// Golden is a dump of a deployment with the site of the golden corpus: the file that Variable names, or one made of testdata/site.yaml.
func Golden(t testing.TB) string {
	t.Helper()
	if path := os.Getenv(Variable); path != "" {
		return path
	}
	path := filepath.Join(t.TempDir(), "nfc_access.sql")
	WriteFile(t, path, Of(GoldenSite(t)), Format{Restrict: true})
	return path
}

// GoldenSite is the site of the golden corpus.
func GoldenSite(t testing.TB) *sitefile.Site {
	t.Helper()
	const path = "../../testdata/site.yaml"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sitefile.Parse(path, text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// WriteFile writes a dump to a file, gzipped when its name says so.
func WriteFile(t testing.TB, path string, d Database, f Format) {
	t.Helper()
	// In a stream: a great one would be a great memory of the test's own.
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Ext(path) == ".gz" {
		z := gzip.NewWriter(file)
		err = errors.Join(d.Write(z, f), z.Close())
	} else {
		err = d.Write(file, f)
	}
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// Gzip packs.
func Gzip(t testing.TB, b []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// Load loads a plain dump into a PostgreSQL database, with psql, as people restore it.
func Load(t testing.TB, url, dump string) {
	t.Helper()
	c := exec.Command("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null", "--file="+dump, url)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
}
