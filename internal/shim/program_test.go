package shim

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/link"
)

func TestSeal(t *testing.T) {
	p := &Program{Path: "/bin/busybox"}
	path := p.exec()
	require.Equal(t, path, p.exec())
	require.NotEqual(t, p.Path, path)
	for _, flag := range []int{os.O_WRONLY, os.O_WRONLY | os.O_TRUNC} {
		f, err := os.OpenFile(path, flag, 0)
		if err == nil {
			_, err = f.Write([]byte("x"))
			f.Close()
		}
		require.ErrorIs(t, err, unix.EPERM)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	have, err := unix.FcntlInt(p.copy.Fd(), unix.F_GET_SEALS, 0)
	require.NoError(t, err)
	require.Equal(t, seals, have&seals)

	// More files than a shim inherits, which take the descriptors from 3 on.
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	cmd := exec.Command(path)
	cmd.Args = []string{"readlink", "/proc/self/exe"}
	cmd.ExtraFiles = []*os.File{r, r, r, r, r, r, r, r}
	out, err := cmd.Output()
	require.NoError(t, err)
	require.Equal(t, "/memfd:"+link.Name+" (deleted)\n", string(out))
	p.Close()
	require.Error(t, exec.Command(path).Run())
}

func TestNotSealed(t *testing.T) {
	script := filepath.Join(t.TempDir(), "shim")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755))
	for _, path := range []string{Self, script, "/nosuch"} {
		p := &Program{Path: path}
		require.Equal(t, path, p.exec())
		p.Close()
	}
	p := &Program{Path: "/bin/busybox"}
	p.Close()
	require.Equal(t, p.Path, p.exec(), "it is closed")
}

// A log is bounded, and stays the file that is locked.
func TestOpenLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := openLog(path)
	require.NoError(t, err)
	defer f.Close()
	for _, size := range []int64{logLimit, logLimit + 1} {
		require.NoError(t, f.Truncate(size))
		again, err := openLog(path)
		require.NoError(t, err)
		_, err = again.WriteString("x")
		require.NoError(t, errors.Join(err, again.Close()))
		st, err := f.Stat()
		require.NoError(t, err)
		if size <= logLimit {
			require.Equal(t, size+1, st.Size())
		} else {
			require.EqualValues(t, 1, st.Size())
		}
	}
}

// A shim is told what it needs, whatever the program was.
func TestEnviron(t *testing.T) {
	for _, name := range []string{link.FiltersEnv, "TMPDIR", "XDG_RUNTIME_DIR", "LD_PRELOAD", "GODEBUG", "GOMAXPROCS", "NOTIFY_SOCKET"} {
		t.Setenv(name, "/of/somebody/else")
	}
	t.Setenv("PATH", "/some/bin")
	t.Setenv("GORACE", "")
	require.NoError(t, os.Unsetenv("GORACE"))
	p := &Program{Filters: "/ours"}
	require.ElementsMatch(t, []string{
		"PATH=/some/bin", link.FiltersEnv + "=/ours", "TMPDIR=/dir", "XDG_RUNTIME_DIR=/dir", "GORACE=atexit_sleep_ms=0",
	}, p.environ("/dir"))
	t.Setenv("GORACE", "halt_on_error=1")
	require.Contains(t, p.environ("/dir"), "GORACE=halt_on_error=1")
	require.NotContains(t, p.environ("/dir"), "GORACE=atexit_sleep_ms=0")
}
