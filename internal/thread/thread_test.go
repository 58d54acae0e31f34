package thread

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestApart(t *testing.T) {
	var tid int
	Apart(func() { tid = unix.Gettid() })
	require.NotZero(t, tid)
	require.NotEqual(t, unix.Getpid(), tid)
	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join("/proc/self/task", strconv.Itoa(tid)))
		return os.IsNotExist(err)
	}, 10*time.Second, time.Millisecond, "the thread has ended")
}

// The program has a umask of its own before, meanwhile and after.
func TestWithUmask(t *testing.T) {
	before := unix.Umask(0o077)
	defer unix.Umask(before)
	dir := t.TempDir()
	mode := func(name string) os.FileMode {
		st, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		return st.Mode().Perm()
	}
	inside, outside := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(outside)
		<-inside
		_ = os.Mkdir(filepath.Join(dir, "outside"), 0o777)
	}()
	require.NoError(t, WithUmask(func() error {
		close(inside)
		<-outside
		return os.Mkdir(filepath.Join(dir, "inside"), 0o777)
	}))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "after"), 0o777))
	require.EqualValues(t, 0o755, mode("inside"))
	require.EqualValues(t, 0o700, mode("outside"))
	require.EqualValues(t, 0o700, mode("after"))
	require.ErrorIs(t, WithUmask(func() error { return os.ErrInvalid }), os.ErrInvalid)
}
