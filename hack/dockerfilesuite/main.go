// Dockerfilesuite runs the tests of BuildKit's own Dockerfile frontend, those in the
// module that build/go.mod names, against the builder of package build, and says how
// many passed:
//
//	go run ./hack/dockerfilesuite [-frontend=ctor|buildkit] [PATTERN]
//
// PATTERN is a test's name, or a regular expression for several, as testCopy.*; all
// are a quarter of an hour. With -frontend=buildkit Dockerfiles are converted by
// BuildKit's frontend, which answers more questions about one than it is built by:
// that shows what of a difference is ours.
//
// Nothing of BuildKit's is kept here: its source is copied from Go's module cache to
// a directory in the user's cache, and compiled there, unchanged. Its tests start a
// program "buildkitd" for each test and a program "registry" wherever they need one.
// Here the first is the test binary of package build, which serves a builder under
// BuildKit's control API (build/daemon_test.go), and the second is this program, with
// images of the names that the tests pull, made of Debian's busybox.
//
// It ends with 1 if a test failed that is not on the list of those that may, in
// known.go, each with its reason. Root is needed, and busybox-static and git.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
)

func main() {
	if filepath.Base(os.Args[0]) == "registry" {
		if err := serve(os.Args[len(os.Args)-1]); err != nil {
			fmt.Fprintln(os.Stderr, "registry:", err)
			os.Exit(1)
		}
		return
	}
	frontend := flag.String("frontend", "ctor", "whose `frontend` converts Dockerfiles: ctor or buildkit")
	flag.Parse()
	if flag.NArg() > 1 || *frontend != "ctor" && *frontend != "buildkit" {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ok, err := run(ctx, *frontend, flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, "dockerfilesuite:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// run reports whether all that failed may.
func run(ctx context.Context, frontend, pattern string) (bool, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return false, err
	}
	s := suite{dir: filepath.Join(cache, "ctor-dockerfilesuite"), frontend: frontend}
	if err := s.build(ctx); err != nil {
		return false, err
	}
	got, err := s.run(ctx, pattern)
	if err != nil {
		return false, err
	}
	return got.Tell(os.Stdout, func(test string) string { return known(frontend, test) }), nil
}
