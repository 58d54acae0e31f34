// Package imports holds no code, only tests: they pin the shape of this
// module, and each rule carries its reason, which the failure prints.
//
//   - imports: which package of this module may import which (this file)
//   - deps: what the core may never depend on, however far away (this file)
//   - sums: what go.mod and go.sum do not name (this file)
//   - paths: which files of the host the public packages leave alone (paths_test.go)
//   - opens: what container opens by itself, which is nothing (paths_test.go)
//   - api: which types the public signatures may name (api_test.go)
//   - docs: every exported name is explained (docs_test.go)
//   - examples: every exported type is shown in use (docs_test.go)
//
// The rules are tested themselves, on small broken modules in testdata
// (broken_test.go). When a rule is in your way, read its reason first; when
// the reason no longer holds, change the rule here, in the same commit.
package imports

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// core is what a user's program links. deps holds for these and all they reach.
var core = []string{".", "image", "container", "network", "volume", "layer", "registry", "egress"}

// public is the core and the helpers for tests: api, docs and examples hold here.
var public = append(slices.Clone(core), "container/containertest", "registry/registrytest")

// A rule says which packages of this module a package may import. Test files
// are free: a test stands outside the package, as a user does.
type rule struct {
	pkg string   // path from the module's root; "x/..." is x and all below
	may []string // likewise
	why string   // why nothing else
}

var rules = []rule{
	{".", []string{"egress", "internal/..."},
		"the engine knows nothing of classes and instances: image and container build on it, so an import back would be a cycle, or drag one into the other"},
	{"container", []string{".", "layer", "egress", "internal/..."},
		"an instance does not know how its class was pulled or published: image makes containers, and hands them all that they need"},
	{"image", []string{".", "container", "layer", "registry", "internal/..."},
		"image is the top of the library, but helpers for tests and examples stand above it"},
	{"network", []string{".", "container", "egress", "internal/..."},
		"a network takes containers in that are there, and knows no images"},
	{"volume", []string{".", "container", "internal/..."},
		"a volume is there before and after its containers, and knows no images: container attaches it, by its name"},
	{"egress", nil,
		"a policy is a value that any program can make and test, without an engine: it knows no containers"},
	{"layer", nil,
		"a layer is a tar and its digests: a program makes and reads one without an engine, and compiles nothing else for it"},
	{"registry", []string{"internal/..."},
		"a registry is asked without an engine and without root: a tool that only lists tags must not compile containerd's services"},
	{"container/containertest", []string{".", "image", "container", "layer", "registry", "internal/..."},
		"containertest serves tests with an engine; for a registry a test asks registrytest itself"},
	{"registry/registrytest", []string{"layer", "registry", "internal/..."},
		"a test of registry code runs without root: a server that drags in an engine could not"},
	{"internal/fixture", []string{".", "image", "container", "layer", "internal/..."},
		"fixture makes images for the tests of all packages, by the public API; nothing but tests imports it"},
	{"internal/shim/task/tasktest", []string{"internal/..."},
		"the conformance suite drives the task service as an engine does"},
	{"internal/shim/link", nil,
		"both ends of a shim import it, and neither may bring the other along"},
	{"internal/logfile", nil,
		"the shim writes logs too, and the package inits of all it links every container's start pays for"},
	{"internal/journal", nil, "as internal/logfile: a shim that starts its container again notes that"},
	{"internal/restart", []string{"internal/journal"}, "as internal/journal"},
	{"internal/reaper", nil, "it is a program as bytes: who puts it where is its users' business"},
	{"internal/span", nil, "what takes long its callers know"},
	{"internal/pool", nil, "what waits in a pool is its maker's business: it knows no containers"},
	{"internal/body", []string{"internal/engine", "internal/events", "internal/lan", "internal/life", "internal/links", "internal/quota", "internal/ready", "internal/record", "internal/rootfs", "internal/spec", "internal/unwind", "internal/volumes"},
		"a body is made of plain values, before there is a process: streams, the door and what else one that lives has are its finisher's business"},
	{"internal/procs", nil, "it is told pids, and knows no containers"},
	{"internal/events", nil, "what has happened is written and read by numbers: what it means its callers know"},
	{"internal/stdio", []string{"internal/logfile", "internal/reexec"},
		"streams are carried for any process of any backend: what they belong to is none of their business"},
	{"internal/ready", []string{"internal/logfile", "internal/stdio"},
		"what is looked at is its caller's business: a look is a function, and it knows no containers"},
	{"internal/volumes", []string{"internal/rootfs", "internal/unwind"},
		"a volume is a directory and a lock, whatever engine has it: who uses it, and what is copied into it, its caller knows"},
	{"internal/userns", nil, "as internal/shim/task: who there is in a user namespace is asked everywhere"},
	{"internal/mountinfo", nil, "as internal/shim/task"},
	{"internal/pidfd", nil, "as internal/shim/task"},
	{"internal/cgroup", []string{"internal/mountinfo", "internal/pidfd", "internal/userns"},
		"the shim and the engine kill, count and remove by the same code, and the shim links it: nothing of the host's survey may come along"},
	{"internal/bundle", []string{"internal/cgroup", "internal/unwind"}, "as internal/shim/task"},
	{"internal/reexec", nil, "as internal/shim/task"},
	{"internal/distribution", nil,
		"it is the protocol of registries over whatever keeps the content: the registry of tests speaks it without an engine"},
	{"internal/slate", []string{"internal/reexec", "internal/thread"}, "as internal/shim/task"},
	{"internal/shim/criu", nil,
		"what CRIU's images look like is a matter of files: it needs to know no containers, and the shim links it, as internal/shim/task says"},
	{"internal/shim/seccomp", nil, "as internal/shim/task; a profile is compiled without asking the host, so that any machine can tell what it means"},
	{"internal/shim/task", []string{"internal/bundle", "internal/cgroup", "internal/journal", "internal/logfile", "internal/restart", "internal/shim/criu", "internal/shim/link", "internal/unwind"},
		"it is linked into the shim, whose package inits every container's start pays for: nothing of the engine may come along"},
	{"internal/shim/command", []string{"internal/bundle", "internal/cgroup", "internal/host", "internal/shim/task"}, "as internal/shim/task"},
	{"internal/sealed", nil, "as internal/shim/task"},
	{"internal/shim/native/forker", []string{"internal/sealed"},
		"it forks what it is told to, and knows no configuration"},
	{"internal/shim/native", []string{"internal/cgroup", "internal/pidfd", "internal/rootfs", "internal/shim/native/forker", "internal/shim/seccomp", "internal/shim/task", "internal/unwind", "internal/userns"}, "as internal/shim/task"},
	{"internal/shim/serve", []string{"internal/shim/link", "internal/shim/task", "internal/slate"}, "as internal/shim/task"},
	{"internal/shim/stock", []string{"internal/bundle", "internal/shim/link", "internal/shim/task"}, "as internal/shim/task"},
	{"internal/lan", []string{"egress", "internal/..."}, "as internal/engine: a network has a way out"},
	{"internal/netns/netnstest", nil, "a helper for tests of what works in namespaces"},
	{"internal/nft/nfttest", []string{"internal/netlink"}, "as internal/netns/netnstest"},
	{"internal/links", []string{"egress", "internal/..."},
		"as internal/engine: a container has a way out, and what it is besides its links do not know"},
	{"internal/engine", []string{"egress", "internal/..."},
		"as internal/...; and an engine has one certificate authority for all ways out"},
	{"internal/porter", []string{"egress", "internal/..."},
		"as internal/...; and a porter makes connections by a policy of egress, where no public package can do it"},
	{"internal/...", []string{"internal/..."},
		"imports point one way: the public packages are made of the internal ones; what both need moves down"},
	{"cmd/ctor-userns", []string{"internal/host", "internal/reexec", "internal/userns"},
		"it runs any command, and knows no containers: a small program, that a user installs by itself"},
	{"hack", nil, "scripts and their test: nothing is built of them"},
	{"hack/internal/foreign", []string{"layer"}, "as hack/clientsuite"},
	{"hack/dockerfilesuite", []string{"hack/internal/foreign", "registry/registrytest"}, "as hack/clientsuite"},
	{"hack/clientsuite", []string{"hack/internal/foreign", "registry/registrytest"},
		"it compiles what it tests, the library too, as another program: what it links itself only serves the images"},
	{"hack/oci", []string{"internal/bundle", "internal/shim", "internal/shim/self"},
		"it has a shim run containers without an engine, by the verbs of the OCI's command line"},
	{"hack/validation", nil, "it compiles what it tests as other programs"},
	{"examples/...", []string{".", "image", "container", "network", "volume", "layer", "registry", "egress", "container/containertest", "registry/registrytest"},
		"an example is what a user can write, and a user cannot import internal"},
}

// A gate is a package that only some of ours may import themselves, or none.
// One of this module is named by its path from the root.
type gate struct {
	path string // and all below, where it ends in "/..."
	only []string
	why  string
}

var gates = []gate{
	{"internal/wayout", []string{"internal/reach", "internal/porter"}, "as internal/netns"},
	{"internal/porter", []string{"internal/reach"}, "as internal/netns"},
	{"internal/router", []string{"internal/reach"}, "as internal/netns"},
	{"internal/netns", []string{"internal/reach", "internal/router", "internal/wayout"},
		"a socket in a container's network needs privilege over it: what needs that is behind the door, so that another process can do it for a program without root"},
	{"internal/tasks", []string{".", "internal/services"},
		"the public packages know containerd's client alone: what they ask of the runtime below it, a containerd of Dial could not answer"},
	{"internal/shim", []string{".", "internal/tasks", "hack/oci"}, "as internal/tasks; and hack/oci has no engine"},
	{"internal/shim/...", []string{".", "internal/...", "hack/oci"}, "as internal/shim"},
	{"github.com/containerd/containerd/v2/cmd/...", nil,
		"cmd/ is outside containerd's stable API and sets TMPDIR, timeouts and stream processors for the whole process"},
	{"github.com/distribution/distribution/v3/...", nil,
		"as a server it is some 350 packages, and forty lines of every user's go.mod: internal/distribution passes the same conformance suite"},
}

// A ban names what no core package may depend on, over any distance.
type ban struct {
	path string // the package and all below
	why  string
}

var bans = []ban{
	{"C", "the core is pure Go: with cgo a user needs a C compiler, and cross-compiling and static binaries end; cgo lives in the nested module of the libcontainer shim"},
	{"k8s.io", "whoever imports image and container never compiles Kubernetes; containerd's plugins/services/tasks brings it (through goresctrl): speak containerd's TasksClient instead"},
	{"sigs.k8s.io", "as k8s.io"},
	{"github.com/prometheus", "it registers metrics in the program's global registry, and the host program stays the host's; containerd's plugins/gc and plugins/services/tasks bring it: drive the metadata DB's GarbageCollect ourselves"},
	{"github.com/docker/go-metrics", "as github.com/prometheus, which it wraps"},
	{"github.com/moby/buildkit", "builds are a nested module: 64 lines of go.mod and 15 MB that most programs don't need"},
	{"github.com/docker/docker", "there is no Docker daemon to speak to, and its module breaks its importers with each release"},
	{"github.com/moby/moby", "as github.com/docker/docker, its new name"},
	{"github.com/opencontainers/runc", "libcontainer needs cgo and build tags, and runs the program's own init functions as PID 1 of each container: it lives in the nested module of the shim"},
	{"github.com/distribution/distribution/v3", "a registry server is some 350 packages; ours is internal/distribution"},
	{"github.com/stretchr/testify", "an assertion library has no business in a user's binary"},
	{"testing", "test helpers belong in containertest and registrytest: linked into a program, testing brings its flags and profilers"},
	{"net/http/httptest", "as testing; it even defines a flag, -httptest.serve, in the user's program"},
	{"net/http/pprof", "its init opens profiling handlers on the program's own http.DefaultServeMux"},
	{"expvar", "its init puts /debug/vars on the program's own http.DefaultServeMux"},
	{"plugin", "it keeps the linker from dropping unused methods and needs a dynamic, cgo binary"},
}

func TestDesign(t *testing.T) {
	m := here(t)
	for _, rel := range public {
		if p := m.pkg(rel); p == nil || len(p.GoFiles) == 0 {
			t.Errorf("package %s is part of the design (%q), and has no Go files here", rel, m.join(rel))
		}
	}
	complain(t, m.checkLoads(), "")
}

func TestImports(t *testing.T)      { complain(t, here(t).checkImports(), "") }
func TestDependencies(t *testing.T) { complain(t, here(t).checkDeps(), "") }

// What only nested modules need is not even named by the core's: nobody who uses it
// fetches or checks as much as a go.mod of it.
func TestSums(t *testing.T) {
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(here(t).dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, module := range []string{"github.com/moby/buildkit", "github.com/tonistiigi/fsutil"} {
			if strings.Contains(string(text), module+" ") {
				t.Errorf("%s names %s, which is for the nested module build alone", name, module)
			}
		}
	}
}

// checkLoads reports the packages that go list itself finds wrong.
func (m *module) checkLoads() (bad []string) {
	for _, p := range m.all {
		if p.Error != nil {
			bad = append(bad, fmt.Sprintf("%s does not load: %s", m.rel(p.ImportPath), p.Error.Err))
		}
	}
	slices.Sort(bad)
	return bad
}

// checkImports reports each direct import that rules or gates forbid.
func (m *module) checkImports() (bad []string) {
	for _, p := range m.own {
		rel := m.rel(p.ImportPath)
		i := slices.IndexFunc(rules, func(r rule) bool { return within(rel, r.pkg) })
		if i < 0 {
			bad = append(bad, fmt.Sprintf("%s has no rule: say in internal/imports what it may import, and why", rel))
			continue
		}
		for _, imp := range p.Imports {
			if m.has(imp) && !withinAny(m.rel(imp), rules[i].may) {
				bad = append(bad, fmt.Sprintf("%s imports %s: %s", rel, m.rel(imp), rules[i].why))
			}
			for _, g := range gates {
				if within(m.rel(imp), g.path) && !withinAny(rel, g.only) {
					who := "nobody"
					if len(g.only) > 0 {
						who = "only " + strings.Join(g.only, ", ")
					}
					bad = append(bad, fmt.Sprintf("%s imports %s, which %s may: %s", rel, m.rel(imp), who, g.why))
				}
			}
		}
	}
	return bad
}

// checkDeps reports, for each ban that is broken, the shortest way from the
// core to what it bans.
func (m *module) checkDeps() (bad []string) {
	paths, from := m.reach(core)
	for _, b := range bans {
		i := slices.IndexFunc(paths, func(p string) bool { return within(p, b.path+"/...") })
		if i < 0 {
			continue
		}
		var way []string
		for p := paths[i]; p != ""; p = from[p] {
			way = append(way, m.rel(p))
		}
		slices.Reverse(way)
		bad = append(bad, fmt.Sprintf("%s: %s", strings.Join(way, " -> "), b.why))
	}
	return bad
}

// within reports whether path is pattern or, where that ends in "/...", below it.
func within(path, pattern string) bool {
	base, tree := strings.CutSuffix(pattern, "/...")
	return path == base || tree && strings.HasPrefix(path, base+"/")
}

func withinAny(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return within(path, p) })
}

// complain fails the test once for each complaint, then gives the reason that
// they share, unless each carries its own.
func complain(t *testing.T, bad []string, why string) {
	t.Helper()
	for _, b := range bad {
		t.Error(b)
	}
	if len(bad) > 0 && why != "" {
		t.Log("why: " + why)
	}
}
