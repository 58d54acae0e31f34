package hook

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A shim whose file was made set-uid does nothing for anybody: not even what is
// done before Go's runtime starts.
func TestPrivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir, err := os.MkdirTemp("", "ctor-hook-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	program := filepath.Join(dir, "shim")
	binary, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, binary, 0o755))
	execute := func() string {
		cmd := exec.Command(program, "init")
		cmd.Dir, cmd.Env = "/", []string{"_LIBCONTAINER_INITPIPE=99"} // nsenter complains of it
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		require.ErrorContains(t, err, "exit status 1")
		return string(out)
	}
	require.NotContains(t, execute(), "must not")
	require.NoError(t, os.Chmod(program, os.ModeSetuid|0o755))
	require.Equal(t, "containerd-shim-ctor-v2: its file is set-uid or set-gid, or has file capabilities, and must not: chmod ug-s and setcap -r it\n", execute())
}
