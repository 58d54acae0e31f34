package task

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/logfile"
	"github.com/ctorhq/ctor/internal/shim/link"
)

func readLog(t *testing.T, path string) string {
	t.Helper()
	r, err := logfile.Open(t.Context(), path, logfile.Options{Stdout: true, Stderr: true})
	require.NoError(t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(b)
}

// The process's end completes the log, though somebody else holds the pipes,
// and writes on: all that was there is in it.
func TestLogHeldOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, out, errs, err := openLog(link.LogURI(path, 0).String(), false)
	require.NoError(t, err)
	l.begin()
	defer out.Close()
	defer errs.Close()
	flags, err := unix.FcntlInt(out.Fd(), unix.F_GETFL, 0)
	require.NoError(t, err)
	require.Zero(t, flags&unix.O_NONBLOCK, "a process gets blocking files")

	_, err = errs.WriteString("err\n")
	require.NoError(t, err)
	defer children.enter()()       // the test waits for its child itself
	chatter := exec.Command("yes") // to whom the container has passed it
	chatter.Stdout = out
	require.NoError(t, chatter.Start())
	require.Eventually(t, func() bool { return len(readLog(t, path)) > 1<<20 }, 10*time.Second, time.Millisecond)
	l.finish()
	text := readLog(t, path)
	require.Contains(t, text, "err\n")
	require.Empty(t, strings.ReplaceAll(text, "y\n", "")[len("err\n"):])
	require.NoError(t, logfile.Complete(t.Context(), path), "it is complete")
	require.NoError(t, chatter.Process.Kill())
	_ = chatter.Wait()
}

// What an executor has written before the process was started is not its.
func TestLogUnbegun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, out, errs, err := openLog(link.LogURI(path, 0).String(), false)
	require.NoError(t, err)
	defer out.Close()
	defer errs.Close()
	_, err = errs.WriteString("runc create failed\n")
	require.NoError(t, err)
	l.finish()
	require.Empty(t, readLog(t, path))
	require.NoError(t, logfile.Complete(t.Context(), path))
}

// What is in the pipe when the process ends is in the log when that is told.
func TestLogRest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for range 50 {
		l, out, errs, err := openLog(link.LogURI(path, 0).String(), false)
		require.NoError(t, err)
		l.begin()
		text := bytes.Repeat([]byte("0123456789abcde\n"), 4096)
		_, err = out.Write(text)
		require.NoError(t, err)
		out.Close()
		l.finish()
		errs.Close()
		require.Equal(t, string(text), readLog(t, path))
		require.NoError(t, os.Remove(path+".1"))
	}
}

func TestLogRefuse(t *testing.T) {
	for _, uri := range []string{"ctor-log:///nosuch/dir/log?limit=0", "ctor-log:///log", "ctor-log:log?limit=1"} {
		_, _, _, err := openLog(uri, false)
		require.Error(t, err, uri)
	}
}

// frozen gives a directory on a disk that can be made to take nothing.
func frozen(t *testing.T) (dir string, freeze, thaw func()) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, 16<<20))
	defer children.enter()() // its commands are not orphans
	out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput()
	require.NoError(t, err, string(out))
	dir = t.TempDir()
	out, err = exec.Command("mount", "-o", "loop", image, dir).CombinedOutput()
	require.NoError(t, err, string(out))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	root, err := os.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	const fifreeze, fithaw = 0xc0045877, 0xc0045878
	do := func(request uint) func() {
		return func() { require.NoError(t, unix.IoctlSetInt(int(root.Fd()), request, 0)) }
	}
	return dir, do(fifreeze), do(fithaw)
}

// A disk that takes nothing holds up the end of the process for a while, not
// for ever, and what was written meanwhile is in the log when it goes on.
func TestLogStuck(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the log's patience")
	}
	dir, freeze, thaw := frozen(t)
	path := filepath.Join(dir, "log")
	l, out, errs, err := openLog(link.LogURI(path, 0).String(), false)
	require.NoError(t, err)
	l.begin()
	freeze()
	_, err = out.WriteString("hello\n")
	require.NoError(t, err)
	out.Close()
	errs.Close()
	ended := make(chan struct{})
	go func() { l.finish(); close(ended) }()
	select {
	case <-ended:
		t.Error("nothing waited for the disk")
	case <-time.After(logPatience / 2):
	}
	<-ended
	thaw()
	require.NoError(t, logfile.Complete(t.Context(), path))
	require.Equal(t, "hello\n", readLog(t, path))
}
