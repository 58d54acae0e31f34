// Validation runs the OCI's validation of runtimes, the programs in validation/ of
// github.com/opencontainers/runtime-tools, with runc and with the library's own
// executor (hack/oci), one after the other:
//
//	go run ./hack/validation [PATTERN]
//
// PATTERN is a regular expression of the programs' names. It ends with 1 if ours fails
// a check that runc passes, unless known.go has the reason. PATH=$PWD/bin:$PATH go
// run … has containers run by the installed shim.
//
// Nothing of the OCI's is kept here: the source is copied from Go's module cache to a
// directory in the user's cache, and compiled there, which takes a minute. Root is
// needed, and runc.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
)

func main() {
	if len(os.Args) > 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./hack/validation [PATTERN]")
		os.Exit(2)
	}
	pattern := ""
	if len(os.Args) == 2 {
		pattern = os.Args[1]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	good, err := run(ctx, pattern)
	if err != nil {
		fmt.Fprintln(os.Stderr, "validation:", err)
	}
	if err != nil || !good {
		os.Exit(1)
	}
}

// run reports whether ours does all that runc does.
func run(ctx context.Context, pattern string) (bool, error) {
	named, err := regexp.Compile(pattern)
	if err != nil {
		return false, err
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		return false, fmt.Errorf("%w: apt-get install runc", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return false, err
	}
	s := suite{dir: filepath.Join(cache, "ctor-validation")}
	programs, err := s.build(ctx)
	if err != nil {
		return false, err
	}
	good := true
	var sums [2]result
	for _, p := range programs {
		if !named.MatchString(p) {
			continue
		}
		var both [2]result
		for n, runtime := range []string{runc, s.oci()} {
			if both[n], err = s.try(ctx, p, runtime); err != nil {
				return false, err
			}
			sums[n].add(both[n])
		}
		good = tell(p, both[0], both[1]) && good
	}
	fmt.Printf("runc: %v\nours: %v\n", sums[0], sums[1])
	return good && sums[1].passed > 0, nil
}

// tell prints what came of a program, and reports whether ours is as good as runc's.
func tell(program string, runc, ours result) bool {
	fmt.Printf("%-38s runc: %v; ours: %v\n", program, runc, ours)
	good := true
	for _, check := range ours.worse(runc) {
		why := known[program+": "+check]
		if why == "" {
			good, why = false, "not expected"
		}
		fmt.Printf("    %s: %s\n", check, why)
	}
	return good
}
