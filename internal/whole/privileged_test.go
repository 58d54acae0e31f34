package whole

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	_ "github.com/ctorhq/ctor/container/containertest" // its hook as well
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/internal/reexec"
	"github.com/ctorhq/ctor/internal/shim/link"
)

// A program that is set-uid, and only imports this module, gives the user who
// executes it nothing of root's: neither as any of the things that a program is
// when it is executed again, nor as what it is itself.
func TestSetUID(t *testing.T) {
	dir, err := os.MkdirTemp("", "ctor-setuid-") // t.TempDir is for root alone
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	program := filepath.Join(dir, "program")
	binary, err := os.ReadFile(reexec.Self)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, binary, 0o755))
	const user = 65534
	execute := func(env string, args ...string) string {
		cmd := exec.Command(program)
		cmd.Args, cmd.Dir, cmd.Env = args, "/", []string{env}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		out, err := cmd.CombinedOutput()
		require.ErrorContains(t, err, "exit status 1", "%q", args)
		return string(out)
	}
	log := filepath.Join(dir, "log")
	roles := [][]string{
		reexec.Args(link.Name, link.Role, link.Attached, link.Protocol),
		reexec.Args(link.Name, link.Role, link.Detached, link.Protocol),
		reexec.Args("logger", "log-v1", "1000:"+log),
		reexec.Args("logger", "log-tty-v1", "1000:"+log),
		reexec.Args("broom", "broom", dir),
	}
	for _, args := range roles { // each is a role
		require.Contains(t, execute("", args...), "descriptor")
	}
	require.NoError(t, os.Chmod(program, os.ModeSetuid|0o755))
	for _, args := range roles {
		require.Contains(t, execute("", args...), "more rights than the user who started it")
	}
	require.FileExists(t, program, "the broom has removed nothing")
	require.NoFileExists(t, log)

	// And what such a program means to do itself ends with a sentence.
	said := execute(fixture.ProgramVar+"=open", "program", filepath.Join(dir, "root"))
	require.Contains(t, said, "started by user 65534")
	require.Contains(t, said, "unavailable): take the bit away and start it with sudo")
	require.NoDirExists(t, filepath.Join(dir, "root"))
}

func TestNotRoot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() // in one that only root may look into
	for d := dir; d != filepath.Clean(os.TempDir()); d = filepath.Dir(d) {
		require.NoError(t, os.Chmod(d, 0o777))
	}
	// /proc/self/exe is not for others to execute.
	self, err := os.Executable()
	require.NoError(t, err)
	copied := filepath.Join(dir, "program")
	binary, err := os.ReadFile(self)
	require.NoError(t, err)
	syscall.ForkLock.RLock() // what is forked meanwhile would have it open for writing
	err = os.WriteFile(copied, binary, 0o755)
	syscall.ForkLock.RUnlock()
	require.NoError(t, err)
	cmd := exec.Command(copied, filepath.Join(dir, "root"))
	cmd.Env = append(os.Environ(), fixture.ProgramVar+"=open")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, "open engine: an engine in this process needs root, and this is user 65534 (unavailable): run the program with sudo, or as root of a user namespace: go install github.com/ctorhq/ctor/cmd/ctor-userns@latest && ctor-userns PROGRAM\n", string(out))
	require.NoDirExists(t, filepath.Join(dir, "root"))
}
