package imports

import (
	"fmt"
	"go/ast"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pathsWhy is the reason for the rule on paths.
const pathsWhy = "what is in /proc and /sys is told of processes of this host, to a program that may see them: the public packages ask the door and the runtime, which may be elsewhere"

// pathsOf are the packages that leave them alone.
var pathsOf = []string{"container", "image", "layer", "registry"}

// pathsUsers are packages whose functions do something with a path, or make one
// for others that do.
var pathsUsers = []string{"os", "fmt", "filepath", "unix", "syscall"}

func TestPaths(t *testing.T) {
	bad, err := here(t).checkPaths()
	if err != nil {
		t.Fatal(err)
	}
	complain(t, bad, pathsWhy)
}

// checkPaths reports each call that is given a path in /proc or /sys. A path
// that is only compared with others is no matter of this rule.
func (m *module) checkPaths() ([]string, error) {
	return m.inspect(pathsOf, func(n ast.Node, report func(at ast.Node, what string)) {
		for _, arg := range pathsIn(n) {
			report(arg, literal(arg))
		}
	})
}

// inspect looks at every node of the packages' files, and gives what is reported of
// them.
func (m *module) inspect(pkgs []string, look func(n ast.Node, report func(at ast.Node, what string))) (bad []string, err error) {
	for _, p := range m.pkgs(pkgs) {
		fset := token.NewFileSet()
		files, err := parse(fset, p.Dir, p.GoFiles)
		if err != nil {
			return nil, err
		}
		report := func(n ast.Node, what string) {
			at := fset.Position(n.Pos())
			bad = append(bad, fmt.Sprintf("%s: %s (%s:%d)", m.rel(p.ImportPath), what, filepath.Base(at.Filename), at.Line))
		}
		for _, f := range files {
			for n := range ast.Preorder(f) {
				look(n, report)
			}
		}
	}
	return bad, nil
}

// pathsIn gives the arguments of a call that are paths in /proc or /sys.
func pathsIn(n ast.Node) (args []ast.Expr) {
	call, ok := n.(*ast.CallExpr)
	if !ok || !usesPaths(call.Fun) {
		return nil
	}
	for _, arg := range call.Args {
		if path := literal(arg); within(path, "/proc/...") || within(path, "/sys/...") {
			args = append(args, arg)
		}
	}
	return args
}

// usesPaths tells whether a function is one of pathsUsers.
func usesPaths(fun ast.Expr) bool {
	sel, ok := fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := sel.X.(*ast.Ident)
	return ok && slices.Contains(pathsUsers, pkg.Name)
}

// literal gives the string that an expression begins with, if that is written
// there.
func literal(e ast.Expr) string {
	if sum, ok := e.(*ast.BinaryExpr); ok {
		return literal(sum.X)
	}
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, _ := strconv.Unquote(lit.Value)
	return strings.TrimSuffix(s, "/")
}

// opensWhy is the reason for the rule on what opens files.
const opensWhy = "an instance's files are behind the door, its log behind the backend, and what is known of it in its record: where they are is none of container's business, and may be another host"

// opensOf are the packages that open no file by themselves.
var opensOf = []string{"container"}

// openers are the functions that do.
var openers = map[string][]string{
	"os":      {"Create", "Open", "OpenFile", "ReadDir", "ReadFile", "WriteFile"},
	"logfile": {"Announce", "Complete", "Create", "Open"},
}

func TestOpens(t *testing.T) {
	bad, err := here(t).checkOpens()
	if err != nil {
		t.Fatal(err)
	}
	complain(t, bad, opensWhy)
}

// checkOpens reports each call of an opener.
func (m *module) checkOpens() ([]string, error) {
	return m.inspect(opensOf, func(n ast.Node, report func(at ast.Node, what string)) {
		if sel, ok := n.(*ast.SelectorExpr); ok && opens(sel) {
			report(sel, fmt.Sprintf("%s.%s", sel.X, sel.Sel.Name))
		}
	})
}

// opens tells whether a function is one of openers.
func opens(sel *ast.SelectorExpr) bool {
	pkg, ok := sel.X.(*ast.Ident)
	return ok && slices.Contains(openers[pkg.Name], sel.Sel.Name)
}
