package imports

import (
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

// apiWhy is the reason for the rule on signatures.
const apiWhy = "the public API names only the standard library, image-spec, go-digest, runtime-spec and this module, so that a new release of anything else never breaks a user's build"

// apiSpecs are the foreign modules that signatures may name: specifications,
// which don't change.
var apiSpecs = []string{
	"github.com/opencontainers/image-spec/...",
	"github.com/opencontainers/go-digest/...",
	"github.com/opencontainers/runtime-spec/...",
}

// apiDoors are the exceptions, by package and name.
var apiDoors = []string{
	". Engine.Containerd", // the one door to containerd, for what is not wrapped
}

func TestAPI(t *testing.T) {
	bad, err := here(t).checkAPI()
	if err != nil {
		t.Fatal(err)
	}
	complain(t, bad, apiWhy)
}

// checkAPI reports each exported name whose type mentions a foreign type. It
// asks the compiler, not the source: inferred types and aliases count too.
func (m *module) checkAPI() ([]string, error) {
	args := []string{"-export"}
	for _, p := range m.pkgs(public) {
		args = append(args, p.ImportPath)
	}
	if len(args) == 1 {
		return nil, nil // TestDesign misses them
	}
	pkgs, err := list(m.dir, "", args...)
	if err != nil {
		return nil, err
	}
	exports := make(map[string]string)
	for _, p := range pkgs {
		exports[p.ImportPath] = p.Export
	}
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	var bad []string
	for _, p := range m.pkgs(public) {
		if exports[p.ImportPath] == "" {
			bad = append(bad, fmt.Sprintf("%s does not compile: run go build", m.rel(p.ImportPath)))
			continue
		}
		pkg, err := imp.Import(p.ImportPath)
		if err != nil {
			return nil, fmt.Errorf("read the API of %s: %w", p.ImportPath, err)
		}
		w := &apiWalk{m: m, pkg: m.rel(p.ImportPath)}
		for _, name := range pkg.Scope().Names() {
			if obj := pkg.Scope().Lookup(name); obj.Exported() {
				w.object(obj)
			}
		}
		bad = append(bad, w.bad...)
	}
	return bad, nil
}

// An apiWalk visits what one package exports.
type apiWalk struct {
	m    *module
	pkg  string
	name string // the exported name being visited: "Func", "Type", "Type.Method"
	seen []types.Type
	bad  []string
}

// object visits an exported object of the package's scope.
func (w *apiWalk) object(obj types.Object) {
	w.name, w.seen = obj.Name(), nil
	if tn, ok := obj.(*types.TypeName); ok {
		if named, ok := types.Unalias(tn.Type()).(*types.Named); ok && w.ours(named.Obj()) {
			w.declared(obj.Name(), named)
			return
		}
	}
	w.typ(obj.Type())
}

// declared visits the declaration of a type of this module: its fields or
// whatever it is made of, and its methods.
func (w *apiWalk) declared(name string, named *types.Named) {
	w.name = name
	for p := range named.TypeParams().TypeParams() {
		w.typ(p.Constraint())
	}
	if st, ok := named.Underlying().(*types.Struct); ok {
		for f := range st.Fields() {
			w.name = name + "." + f.Name()
			if f.Exported() {
				w.typ(f.Type())
			} else if in := embedded(f); in != nil && w.ours(in.Obj()) {
				w.declared(name, in) // its exported fields and methods are promoted
			}
		}
	} else {
		w.typ(named.Underlying())
	}
	for m := range named.Methods() {
		if m.Exported() {
			w.name = name + "." + m.Name()
			w.typ(m.Type())
		}
	}
}

// embedded returns the type that the field f embeds, nil if f has a name of its own.
func embedded(f *types.Var) *types.Named {
	if !f.Embedded() {
		return nil
	}
	t := types.Unalias(f.Type())
	if p, ok := t.(*types.Pointer); ok {
		t = types.Unalias(p.Elem())
	}
	named, _ := t.(*types.Named)
	return named
}

// typ visits a type where it is used. A named one is only judged by its
// package, not entered.
func (w *apiWalk) typ(t types.Type) {
	if slices.Contains(w.seen, t) {
		return
	}
	w.seen = append(w.seen, t)
	defer func() { w.seen = w.seen[:len(w.seen)-1] }()
	switch t := t.(type) {
	case *types.Alias:
		w.judge(t.Obj())
		w.typ(types.Unalias(t))
	case *types.Named:
		w.judge(t.Obj())
		for arg := range t.TypeArgs().Types() {
			w.typ(arg)
		}
	case interface{ Elem() types.Type }: // pointer, slice, array, channel, map
		w.typ(t.Elem())
		if m, ok := t.(*types.Map); ok {
			w.typ(m.Key())
		}
	case *types.Signature:
		for v := range t.Params().Variables() {
			w.typ(v.Type())
		}
		for v := range t.Results().Variables() {
			w.typ(v.Type())
		}
		for p := range t.TypeParams().TypeParams() {
			w.typ(p.Constraint())
		}
	case *types.Struct:
		for f := range t.Fields() {
			w.typ(f.Type())
		}
	case *types.Interface:
		for m := range t.ExplicitMethods() {
			w.typ(m.Type())
		}
		for e := range t.EmbeddedTypes() {
			w.typ(e)
		}
	case *types.Union:
		for term := range t.Terms() {
			w.typ(term.Type())
		}
	}
}

// judge reports obj, a named type or alias, if a signature may not name it.
func (w *apiWalk) judge(obj *types.TypeName) {
	if obj.Pkg() == nil || w.ours(obj) || slices.Contains(apiDoors, w.pkg+" "+w.name) {
		return
	}
	path := obj.Pkg().Path()
	first, _, _ := strings.Cut(path, "/")
	if std := !strings.Contains(first, "."); std || withinAny(path, apiSpecs) {
		return
	}
	bad := fmt.Sprintf("%s: %s mentions %s.%s", w.pkg, w.name, path, obj.Name())
	if !slices.Contains(w.bad, bad) {
		w.bad = append(w.bad, bad)
	}
}

func (w *apiWalk) ours(obj *types.TypeName) bool {
	return obj.Pkg() != nil && w.m.has(obj.Pkg().Path())
}
