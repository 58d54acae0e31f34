package imports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// listed is the part of go list's answer that the rules read.
type listed struct {
	ImportPath   string
	Dir          string
	Standard     bool
	DepOnly      bool // reached, not asked for
	GoFiles      []string
	CgoFiles     []string
	XTestGoFiles []string
	Imports      []string
	Export       string // file with the compiled API; only with go list -export
	Error        *struct{ Err string }
}

// A module is one Go module, its own packages and all they depend on.
type module struct {
	dir  string
	path string
	own  []*listed          // its packages, sorted by path
	all  map[string]*listed // by import path, dependencies too
}

// here loads the module that these tests guard, once.
func here(t *testing.T) *module {
	t.Helper()
	m, err := loadHere()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var loadHere = sync.OnceValues(func() (*module, error) {
	// Go's test cache does not see what go list reads, and would answer "ok
	// (cached)" for changed code; it does see the folders that we look into.
	_ = filepath.WalkDir("../..", func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		return nil // what cannot be read go list reports
	})
	return load("../..")
})

// load lists the module in dir. It asks with cgo switched on, since otherwise
// go list leaves out the very files that the ban on cgo looks for; nothing is
// compiled, so no C compiler is needed.
func load(dir string) (*module, error) {
	path, err := golist(dir, "", "-m")
	if err != nil {
		return nil, err
	}
	pkgs, err := list(dir, "CGO_ENABLED=1", "./...")
	if err != nil {
		return nil, err
	}
	m := &module{dir: dir, path: strings.TrimSpace(string(path)), all: make(map[string]*listed)}
	for _, p := range pkgs {
		m.all[p.ImportPath] = p
		if !p.DepOnly {
			m.own = append(m.own, p)
		}
	}
	slices.SortFunc(m.own, func(a, b *listed) int { return strings.Compare(a.ImportPath, b.ImportPath) })
	return m, nil
}

// list runs go list for packages and all that they depend on, with env ("K=V"
// or nothing) added to the environment.
func list(dir, env string, args ...string) ([]*listed, error) {
	const fields = "ImportPath,Dir,Standard,DepOnly,GoFiles,CgoFiles,XTestGoFiles,Imports,Export,Error"
	out, err := golist(dir, env, append([]string{"-e", "-deps", "-json=" + fields}, args...)...)
	if err != nil {
		return nil, err
	}
	var pkgs []*listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(listed)
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			return pkgs, nil
		} else if err != nil {
			return nil, fmt.Errorf("read go list's answer: %w", err)
		}
		pkgs = append(pkgs, p)
	}
}

// golist runs the go list command in dir. A go.work above must not widen
// ./..., and git may refuse to read a checkout whose owner is another user.
func golist(dir, env string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", append([]string{"list", "-buildvcs=false"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "GOWORK=off")
	if env != "" {
		cmd.Env = append(cmd.Env, env)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, nil
}

// has reports whether the import path is one of the module's own.
func (m *module) has(path string) bool { return within(path, m.path+"/...") }

// rel shortens an import path of this module to its folder, "." for the
// root; foreign paths stay as they are.
func (m *module) rel(path string) string {
	if path == m.path {
		return "."
	}
	return strings.TrimPrefix(path, m.path+"/")
}

// join is the opposite of rel.
func (m *module) join(rel string) string {
	if rel == "." {
		return m.path
	}
	return m.path + "/" + rel
}

// pkg returns the module's package in folder rel, nil if there is none.
func (m *module) pkg(rel string) *listed { return m.all[m.join(rel)] }

// pkgs returns those of the folders rels that hold a package.
func (m *module) pkgs(rels []string) (found []*listed) {
	for _, rel := range rels {
		if p := m.pkg(rel); p != nil {
			found = append(found, p)
		}
	}
	return found
}

// reach lists every package that the folders rels depend on, nearest first,
// and for each the one that imports it. The standard library is listed but
// not entered: what it imports is not ours to choose.
func (m *module) reach(rels []string) (paths []string, from map[string]string) {
	from = make(map[string]string)
	for _, p := range m.pkgs(rels) {
		paths, from[p.ImportPath] = append(paths, p.ImportPath), ""
	}
	for i := 0; i < len(paths); i++ {
		p := m.all[paths[i]]
		if p == nil || p.Standard { // nil is "C"
			continue
		}
		for _, imp := range p.Imports {
			if _, seen := from[imp]; !seen {
				paths, from[imp] = append(paths, imp), p.ImportPath
			}
		}
	}
	return paths, from
}
