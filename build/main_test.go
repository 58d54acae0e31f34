package build_test

import (
	"flag"
	"os"
	"testing"
)

// The test binary is also the program that is killed in a test.
func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		os.Exit(helper())
	}
	flag.Parse()
	os.Exit(m.Run())
}
