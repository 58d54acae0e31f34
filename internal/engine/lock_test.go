package engine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestLock(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "lock")
	says := func() string {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		return string(b)
	}
	l, err := LockRoot(root)
	require.NoError(t, err)
	require.True(t, l.Dirty, "of a new root nothing is known")
	require.Equal(t, fmt.Sprintln(os.Getpid()), says())
	_, err = LockRoot(root)
	require.ErrorIs(t, err, ErrLocked)
	require.EqualError(t, err, fmt.Sprintf("%s: root is locked by process %d (this one)", root, os.Getpid()))
	require.NoError(t, l.Unlock(true))
	require.Equal(t, "closed\n", says())

	l, err = LockRoot(root)
	require.NoError(t, err)
	require.False(t, l.Dirty)
	require.NoError(t, l.Unlock(false))

	l, err = LockRoot(root)
	require.NoError(t, err)
	require.True(t, l.Dirty, "it was not left in order")
	require.NoError(t, l.Unlock(true))
	require.Error(t, l.Unlock(true))

	// What a power cut may leave.
	require.NoError(t, os.Truncate(file, 0))
	l, err = LockRoot(root)
	require.NoError(t, err)
	require.True(t, l.Dirty)
	require.NoError(t, l.Unlock(true))
}

// A child that has the file open for a moment does not keep the root.
func TestUnlockInherited(t *testing.T) {
	root := t.TempDir()
	l, err := LockRoot(root)
	require.NoError(t, err)
	fd, err := unix.Dup(int(l.f.Fd()))
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, l.Unlock(true))
	l, err = LockRoot(root)
	require.NoError(t, err)
	require.NoError(t, l.Unlock(true))
}

// A lock that a dead process's child holds still is waited for.
func TestLockOfTheDead(t *testing.T) {
	root := t.TempDir()
	l, err := LockRoot(root)
	require.NoError(t, err)
	require.NoError(t, l.write(strconv.Itoa(dead(t))))
	go func() {
		<-time.After(50 * time.Millisecond)
		_ = unix.Flock(int(l.f.Fd()), unix.LOCK_UN)
	}()
	next, err := LockRoot(root)
	require.NoError(t, err)
	require.True(t, next.Dirty)
	require.NoError(t, next.Unlock(true))
}

func TestHolder(t *testing.T) {
	gone := dead(t)
	for said, want := range map[string]string{
		"":                            "another process",
		"closed":                      "another process",
		"-1":                          "another process",
		strconv.Itoa(gone):            fmt.Sprintf("process %d", gone),
		"1":                           "process 1 (" + comm(t, 1) + ")",
		strconv.Itoa(os.Getpid()):     fmt.Sprintf("process %d (this one)", os.Getpid()),
		"999999999999999999999999999": "another process",
	} {
		require.Equal(t, want, holder(said), said)
	}
}

func comm(t *testing.T, pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	require.NoError(t, err)
	return string(b[:len(b)-1])
}

// dead is the pid of a process that was.
func dead(t *testing.T) int {
	cmd := exec.Command("true")
	require.NoError(t, cmd.Run())
	return cmd.Process.Pid
}

func TestOwner(t *testing.T) {
	require.Regexp(t, `^[0-9a-f-]{36}/\d+/\d+/\d+$`, Owner())
	require.True(t, Alive(Owner()))

	cmd := exec.Command("sleep", "1000")
	require.NoError(t, cmd.Start())
	owner := ownerOf(cmd.Process.Pid)
	require.True(t, Alive(owner))
	require.NoError(t, cmd.Process.Kill())
	// It is dead, and nobody has collected it: a zombie.
	var info unix.Siginfo
	require.NoError(t, unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil))
	require.False(t, Alive(owner))
	_ = cmd.Wait()
	require.False(t, Alive(owner))
}

func TestAlive(t *testing.T) {
	me := []any{boot(), pidNamespace(), os.Getpid()}
	for owner, alive := range map[string]bool{
		"":                                      false,
		"a/b/c/d":                               false,
		"a/b":                                   false,
		"true":                                  false,
		Owner() + "1":                           false, // the pid was given again
		fmt.Sprintf("%s/%s/%d/1", me...):        false,
		fmt.Sprintf("%s/%s/x/1", me[:2]...):     false,
		fmt.Sprintf("%s/4026531000/1/1", me[0]): true, // whoever knows
		"00000000-0000-0000-0000-000000000000/1/1/100": false,
	} {
		require.Equal(t, alive, Alive(owner), owner)
	}
}

func TestStarted(t *testing.T) {
	const rest = " 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1000 200"
	for stat, want := range map[string]string{
		"17 (sh) S" + rest:        "4711",
		"17 (a) b (c)) R" + rest:  "4711", // a name may hold anything
		"17 (x) Z 1 (y) S" + rest: "4711",
		"17 (sh) Z" + rest:        "",
		"17 (sh) X" + rest:        "",
		"17 (sh) S 1 2 3":         "",
		"":                        "",
	} {
		got, ok := started([]byte(stat))
		require.Equal(t, want, got, stat)
		require.Equal(t, want != "", ok)
	}
}

func TestExiting(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	require.NoError(t, cmd.Start())
	require.False(t, exiting(cmd.Process.Pid))
	require.NoError(t, cmd.Process.Kill())
	require.NoError(t, unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil))
	require.True(t, exiting(cmd.Process.Pid))
	require.Error(t, cmd.Wait())
	require.True(t, exiting(cmd.Process.Pid), "it is gone")
	require.False(t, begunToExit(nil))
	require.False(t, begunToExit([]byte("1 (a) b) S 1 2 3 4 5 4194304 6")))
	require.True(t, begunToExit([]byte("1 (a) b) R 1 2 3 4 5 4194308 6")))
}
