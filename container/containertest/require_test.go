package containertest_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container/containertest"
)

// TestAsked asks for an engine, as a user who can't have one, when TestRequire has it run.
func TestAsked(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("it is run by TestRequire")
	}
	containertest.Engine(t)
}

// Where the host can't run containers tests are skipped, and fail where they are not
// to be.
func TestRequire(t *testing.T) {
	for env, says := range map[string]string{"X=": "--- SKIP: TestAsked", "CONTAINERTEST_REQUIRE=1": "--- FAIL: TestAsked"} {
		cmd := exec.Command("/proc/self/exe", "-test.run", "^TestAsked$", "-test.v")
		cmd.Dir = "/"
		cmd.Env = append(os.Environ(), env, "TMPDIR=/tmp")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		require.Contains(t, string(out), says)
		require.Contains(t, string(out), "containertest: ")
		require.Equal(t, env == "X=", err == nil)
	}
}
