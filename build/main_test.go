package build_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/ctorhq/ctor/build"
)

// daemonEnv has the test binary be a buildkitd.
const daemonEnv = "CTOR_TEST_BUILDKITD"

// The test binary is also the program that is killed in a test.
func TestMain(m *testing.M) {
	if os.Getenv(daemonEnv) != "" {
		if err := build.Daemon(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "buildkitd:", err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(helperEnv) != "" {
		os.Exit(helper())
	}
	flag.Parse()
	os.Exit(m.Run())
}
