package imports

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// checks are the rules by the names that the fixtures use.
var checks = map[string]func(*module) ([]string, error){
	"imports":  func(m *module) ([]string, error) { return m.checkImports(), nil },
	"deps":     func(m *module) ([]string, error) { return m.checkDeps(), nil },
	"paths":    (*module).checkPaths,
	"opens":    (*module).checkOpens,
	"loads":    func(m *module) ([]string, error) { return m.checkLoads(), nil },
	"api":      (*module).checkAPI,
	"docs":     (*module).checkDocs,
	"examples": (*module).checkExamples,
}

// TestBroken shows that the rules catch what they are for. Each file
// testdata/RULE-what.txtar is a small module; its section "want" holds the
// beginning of each complaint, in order, and none for a module that keeps
// the rule.
func TestBroken(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, name := range names {
		base := strings.TrimSuffix(filepath.Base(name), ".txtar")
		t.Run(base, func(t *testing.T) {
			t.Parallel()
			rule, _, _ := strings.Cut(base, "-")
			check := checks[rule]
			if check == nil {
				t.Fatalf("%s: no rule named %q", name, rule)
			}
			ar, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			want := unpack(t, ar)
			m, err := load(want.dir)
			if err != nil {
				t.Fatal(err)
			}
			got, err := check(m)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, got, want.lines)
		})
	}
}

// A fixture is an unpacked module and the complaints it must cause.
type fixture struct {
	dir   string
	lines []string
}

// unpack writes the archive's files to a new folder.
func unpack(t *testing.T, ar *txtar.Archive) fixture {
	t.Helper()
	fx := fixture{dir: t.TempDir()}
	files := append([]txtar.File{{Name: "go.mod", Data: []byte("module fixture.test/ctor\n\ngo 1.26\n")}}, ar.Files...)
	for _, f := range files {
		if f.Name == "want" {
			for line := range strings.Lines(string(f.Data)) {
				fx.lines = append(fx.lines, strings.TrimSpace(line))
			}
			continue
		}
		path := filepath.Join(fx.dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return fx
}

// compare fails unless each complaint begins with the wanted line.
func compare(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("not caught: %s", want[i])
		case i >= len(want):
			t.Errorf("complains without cause: %s", got[i])
		case !strings.HasPrefix(got[i], want[i]):
			t.Errorf("complaint %d:\n got %s\nwant %s", i, got[i], want[i])
		}
	}
}
