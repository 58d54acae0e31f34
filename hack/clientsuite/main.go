// Clientsuite runs the tests of containerd's own client, those in the module
// that go.mod names, and says how many passed:
//
//	go run ./hack/clientsuite stock [PATTERN]   # a containerd with its own shim
//	go run ./hack/clientsuite shim [PATTERN]    # the same containerd, with ours
//	go run ./hack/clientsuite engine [PATTERN]  # no containerd: an engine in the test's process
//
// PATTERN is go test's -run. What an engine's containers are run by is found on
// PATH, as always: PATH=$PWD/bin:$PATH go run … is the fast shim, which is what
// "shim" wants anyway (make shim), and otherwise it is the runc command.
//
// Nothing of containerd's is kept here: its source is copied from Go's module
// cache to a directory in the user's cache, and compiled there. The suite pulls
// from registries: here it is led to one of this program's, which has images of
// the same names and shapes, made of Debian's busybox. It runs in a mount and a
// PID namespace of its own, with a /run and a /var/lib that end with it.
//
// It ends with 1 if a test failed that is not on the list of those that may, in
// known.go, each with its reason. Root is needed, and runc, busybox-static and
// lsof. CRIU=1 in the environment has the checkpoint tests run too, for which
// CRIU has to be as new as the kernel.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ctorhq/ctor/registry/registrytest"
)

// ways are what the suite can be run against.
var ways = []string{"stock", "shim", "engine"}

func main() {
	if len(os.Args) < 2 || len(os.Args) > 3 || !slices.Contains(ways, os.Args[1]) {
		fmt.Fprintf(os.Stderr, "usage: go run ./hack/clientsuite %s [PATTERN]\n", strings.Join(ways, "|"))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	pattern := "."
	if len(os.Args) == 3 {
		pattern = os.Args[2]
	}
	ok, err := run(ctx, os.Args[1], pattern)
	if err != nil {
		fmt.Fprintln(os.Stderr, "clientsuite:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// run reports whether all that failed may.
func run(ctx context.Context, way, pattern string) (bool, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return false, err
	}
	s := suite{way: way, dir: filepath.Join(cache, "ctor-clientsuite", way)}
	if err := s.build(ctx); err != nil {
		return false, err
	}
	handler, err := registrytest.Handler(nil)
	if err != nil {
		return false, err
	}
	net, err := newInternet(ctx, handler, filepath.Join(s.dir, "registry.pem"))
	if err != nil {
		return false, err
	}
	if err := fill(ctx, net); err != nil {
		return false, err
	}
	got, err := s.run(ctx, pattern, net.environment())
	if err != nil {
		return false, err
	}
	return got.Tell(os.Stdout, func(test string) string { return known[way][test] }), nil
}

// output runs a command and gives what it prints; its complaints are shown.
func output(cmd *exec.Cmd) (string, error) {
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
