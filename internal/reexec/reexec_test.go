package reexec

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/thread"
)

const (
	role   = "test"
	nobody = 65534
)

// The test binary says so when it is in the role.
func init() {
	Role{
		Name:  role,
		Trust: func() error { return SameProgram(3) },
		Run: func(args []string) error {
			_, err := fmt.Printf("in the role of %q as %d", args, os.Geteuid())
			return err
		},
	}.Hook()
}

// execute executes a program in the role, with a descriptor of the test's.
func execute(t *testing.T, path string, uid uint32, fd *os.File) (string, error) {
	t.Helper()
	cmd := exec.Command(path)
	cmd.Args = Args("anything", role, "one", "two")
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{fd}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// socket gives one end of a pair that is made by a thread of user uid.
func socket(t *testing.T, uid int) *os.File {
	t.Helper()
	var fds [2]int
	as(uid, func() { // the kernel notes who makes them
		var err error
		fds, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
	})
	f := os.NewFile(uintptr(fds[1]), "socket") // the one owner of its number
	t.Cleanup(func() {
		unix.Close(fds[0])
		f.Close()
	})
	return f
}

// as runs f on a thread of another effective user, who makes files, too.
func as(uid int, f func()) {
	thread.Apart(func() {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			panic(errno)
		}
		f()
	})
}

// copied is the test binary in a file of its own, which anybody may execute.
func copied(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir, err := os.MkdirTemp("", "ctor-reexec-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	b, err := os.ReadFile(Self)
	require.NoError(t, err)
	path := filepath.Join(dir, "program")
	require.NoError(t, os.WriteFile(path, b, 0o755))
	return path
}

func TestRole(t *testing.T) {
	out, err := execute(t, Self, uint32(os.Geteuid()), socket(t, os.Geteuid()))
	require.NoError(t, err, out)
	require.Equal(t, fmt.Sprintf(`in the role of ["one" "two"] as %d`, os.Geteuid()), out)
}

// What may do more than the user who executes it takes no role, whatever it is
// handed.
func TestPrivileged(t *testing.T) {
	mount := make([]byte, 20) // struct vfs_cap_data, of version 2, with the flag for effective
	for i, word := range []uint32{0x02000001, 1 << unix.CAP_SYS_ADMIN} {
		binary.LittleEndian.PutUint32(mount[4*i:], word)
	}
	for name, more := range map[string]func(path string) error{
		"set-uid":           func(path string) error { return os.Chmod(path, os.ModeSetuid|0o755) },
		"set-gid":           func(path string) error { return os.Chmod(path, os.ModeSetgid|0o755) },
		"file capabilities": func(path string) error { return unix.Setxattr(path, "security.capability", mount, 0) },
	} {
		path := copied(t)
		out, err := execute(t, path, nobody, socket(t, nobody))
		require.ErrorContains(t, err, "exit status 1", name)
		require.Contains(t, out, "find the program that started this", "it may do no more, and has not been started by itself")
		require.NoError(t, more(path), name)
		for _, uid := range []int{0, nobody} { // as root's it would be no other user's
			out, err := execute(t, path, nobody, socket(t, uid))
			require.ErrorContains(t, err, "exit status 1", name)
			require.Contains(t, out, "anything: this process has more rights than the user who started it", name)
			require.NotContains(t, out, "in the role", name)
		}
	}
}

// What this program has not made itself, as this user, is trusted with nothing.
func TestTrust(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	for what, c := range map[string]struct {
		path string
		fd   *os.File
		want string
	}{
		"another user":    {Self, socket(t, nobody), "anything: this was started by user 65534, and is user 0's"},
		"another program": {copied(t), socket(t, 0), fmt.Sprintf("by process %d, which is another", os.Getpid())},
		"no socket":       {Self, r, "descriptor 3 is not from the program that started this"},
		"no process":      {Self, orphan(t), "find the program that started this"},
	} {
		out, err := execute(t, c.path, 0, c.fd)
		require.ErrorContains(t, err, "exit status 1", what)
		require.Contains(t, out, c.want, what)
		require.NotContains(t, out, "in the role", what)
	}
}

// orphan is a socket of a process that has ended.
func orphan(t *testing.T) *os.File {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	// It makes a pair, and sends one of them.
	cmd := exec.Command("python3", "-c", "import socket, array; a, b = socket.socketpair(); "+
		"socket.socket(fileno=3).sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [a.fileno()]))])")
	cmd.ExtraFiles = []*os.File{theirs}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("python3: %v %s", err, out)
	}
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(ours.Fd()), make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	require.NoError(t, err)
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	require.NoError(t, err)
	got, err := unix.ParseUnixRights(&messages[0])
	require.NoError(t, err)
	f := os.NewFile(uintptr(got[0]), "orphan")
	t.Cleanup(func() { f.Close() })
	return f
}

func TestOwnPipes(t *testing.T) {
	pipe := func(uid int) int {
		var fds [2]int
		as(uid, func() { require.NoError(t, unix.Pipe2(fds[:], unix.O_CLOEXEC)) })
		for _, fd := range fds {
			t.Cleanup(func() { unix.Close(fd) })
		}
		return fds[0]
	}
	own := pipe(os.Geteuid())
	require.NoError(t, OwnPipes(own, pipe(os.Geteuid())))
	require.ErrorContains(t, OwnPipes(own, pipe(nobody)), "is not a pipe that user 0 has made")
	named := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, unix.Mkfifo(named, 0o666))
	f, err := os.OpenFile(named, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	require.ErrorContains(t, OwnPipes(int(f.Fd())), "is not a pipe")
	require.ErrorIs(t, OwnPipes(9999), unix.EBADF)
}

// Arguments that mean something to the program itself are left to it.
func TestNoRole(t *testing.T) {
	for _, args := range [][]string{{}, {"test"}, {"-test.list=^TestNoRole$"}, {"x", Mark(role)}} {
		cmd := exec.Command(Self, append([]string{"-test.list=^TestNoRole$"}, args...)...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "TestNoRole")
	}
}
