package imports

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	docsWhy     = "an exported name is a promise, and its comment is the contract (for a field: what its zero value means)"
	examplesWhy = "every exported type is shown in use by a compiled Example: what cannot be shown briefly is not yet easy to use"
)

func TestDocs(t *testing.T) {
	bad, err := here(t).checkDocs()
	if err != nil {
		t.Fatal(err)
	}
	complain(t, bad, docsWhy)
}

func TestExamples(t *testing.T) {
	bad, err := here(t).checkExamples()
	if err != nil {
		t.Fatal(err)
	}
	complain(t, bad, examplesWhy)
}

const securityWhy = "docs/security.md promises a wall for each test that it names: one that is gone shows nothing"

// Every test that docs/security.md names is there.
func TestSecurityDoc(t *testing.T) {
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	err = filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, found := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(b, -1) {
			tests[string(found[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var bad []string
	named := regexp.MustCompile("`(Test\\w+)`").FindAllSubmatch(text, -1)
	for _, name := range named {
		if !tests[string(name[1])] {
			bad = append(bad, string(name[1])+" is named, and not there")
		}
	}
	if len(named) == 0 {
		bad = append(bad, "it names no test")
	}
	complain(t, bad, securityWhy)
}

// checkDocs reports each exported name without a comment. What the comment
// has to look like is staticcheck's to judge (staticcheck.conf).
func (m *module) checkDocs() (bad []string, err error) {
	for _, p := range m.pkgs(public) {
		d := &docs{fset: token.NewFileSet()}
		files, err := parse(d.fset, p.Dir, append(p.GoFiles, p.CgoFiles...))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			for _, decl := range f.Decls {
				d.decl(decl)
			}
		}
		for _, miss := range d.missing {
			bad = append(bad, fmt.Sprintf("%s: %s has no comment", m.rel(p.ImportPath), miss))
		}
	}
	return bad, nil
}

// checkExamples reports each exported type that no Example in the package's
// external tests is named after: ExampleType, ExampleType_suffix or
// ExampleType_Method.
func (m *module) checkExamples() (bad []string, err error) {
	for _, p := range m.pkgs(public) {
		files, err := parse(token.NewFileSet(), p.Dir, append(p.GoFiles, p.CgoFiles...))
		if err != nil {
			return nil, err
		}
		tests, err := parse(token.NewFileSet(), p.Dir, p.XTestGoFiles)
		if err != nil {
			return nil, err
		}
		shown := shownTypes(tests)
		for _, f := range files {
			for _, spec := range typeSpecs(f) {
				if name := spec.Name.Name; ast.IsExported(name) && !shown[name] {
					bad = append(bad, fmt.Sprintf("%s: write Example%s in package %s_test", m.rel(p.ImportPath), name, f.Name.Name))
				}
			}
		}
	}
	return bad, nil
}

func parse(fset *token.FileSet, dir string, names []string) (files []*ast.File, err error) {
	for _, name := range names {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// shownTypes returns what the Examples in files are named after.
func shownTypes(files []*ast.File) map[string]bool {
	shown := make(map[string]bool)
	for _, f := range files {
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil {
				if name, ok := strings.CutPrefix(fn.Name.Name, "Example"); ok {
					name, _, _ = strings.Cut(name, "_")
					shown[name] = true
				}
			}
		}
	}
	return shown
}

func typeSpecs(f *ast.File) (specs []*ast.TypeSpec) {
	for _, decl := range f.Decls {
		if gen, ok := decl.(*ast.GenDecl); ok {
			for _, spec := range gen.Specs {
				if ts, ok := spec.(*ast.TypeSpec); ok {
					specs = append(specs, ts)
				}
			}
		}
	}
	return specs
}

// docs collects the exported names that have no comment.
type docs struct {
	fset    *token.FileSet
	missing []string // "Type.Field (file.go:12)"
}

func (d *docs) miss(name string, at token.Pos) {
	pos := d.fset.Position(at)
	d.missing = append(d.missing, fmt.Sprintf("%s (%s:%d)", name, filepath.Base(pos.Filename), pos.Line))
}

func (d *docs) decl(decl ast.Decl) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		name := decl.Name.Name
		if decl.Recv != nil {
			recv := receiver(decl.Recv.List[0].Type)
			if !ast.IsExported(recv) {
				return
			}
			name = recv + "." + name
		}
		if decl.Name.IsExported() && decl.Doc == nil {
			d.miss(name, decl.Pos())
		}
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			d.spec(decl, spec)
		}
	}
}

// spec judges one type, or one line of constants or variables. The comment of
// a group counts for each line in it, but not for the types in it.
func (d *docs) spec(group *ast.GenDecl, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if !spec.Name.IsExported() {
			return
		}
		if spec.Doc == nil && (group.Doc == nil || group.Lparen.IsValid()) {
			d.miss(spec.Name.Name, spec.Pos())
		}
		switch t := spec.Type.(type) {
		case *ast.StructType:
			d.fields(spec.Name.Name, t.Fields)
		case *ast.InterfaceType:
			d.fields(spec.Name.Name, t.Methods)
		}
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			if name.IsExported() && spec.Doc == nil && spec.Comment == nil && group.Doc == nil {
				d.miss(name.Name, name.Pos())
			}
		}
	}
}

// fields judges the fields of a struct or the methods of an interface. As in
// the standard library a comment also counts for the lines that follow
// without a blank one between. Embedded types carry their own comments.
func (d *docs) fields(of string, list *ast.FieldList) {
	covered := -1 // the line up to which the last comment counts
	for _, f := range list.List {
		first, last := d.fset.Position(f.Pos()).Line, d.fset.Position(f.End()).Line
		if f.Doc != nil || f.Comment != nil || first == covered+1 {
			covered = last
			continue
		}
		for _, name := range f.Names {
			if name.IsExported() {
				d.miss(of+"."+name.Name, name.Pos())
			}
		}
	}
}

// receiver returns the name of a method's receiver type.
func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr: // T[P]
		return receiver(t.X)
	case *ast.IndexListExpr: // T[P, Q]
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}
