package forker

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// harness is the forker's source, with the sanitizers, on a kernel that is a function:
// testdata/harness.c.
type harness struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Reader
	said  strings.Builder // by the sanitizers
}

// outcome is how a life in the harness ended.
type outcome struct {
	how    string
	calls  int
	failed int    // the call that was failed, by its number; -1: none
	told   string // to the shim, "-": nothing
}

func newHarness(t testing.TB) *harness {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("needs gcc, to compile the forker with the sanitizers")
	}
	program := filepath.Join(t.TempDir(), "harness")
	sources, err := filepath.Glob("c/*.c")
	require.NoError(t, err)
	args := append([]string{
		"-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-fno-builtin", "-fno-strict-aliasing",
		"-fsanitize=address,undefined", "-fno-sanitize-recover=all",
		"-DHARNESS", "-Dmemcpy=copy_bytes", "-Dmemset=set_bytes", // the sanitizers have their own
		"-o", program, "testdata/harness.c",
	}, sources...)
	out, err := exec.Command("gcc", args...).CombinedOutput()
	if strings.Contains(string(out), "cannot find") {
		t.Skipf("gcc has no sanitizers: %s", out)
	}
	require.NoError(t, err, "%s", out)
	h := &harness{cmd: exec.Command(program)}
	h.in, err = h.cmd.StdinPipe()
	require.NoError(t, err)
	read, err := h.cmd.StdoutPipe()
	require.NoError(t, err)
	h.cmd.Stderr = &h.said
	h.lines = bufio.NewReader(read)
	require.NoError(t, h.cmd.Start())
	t.Cleanup(func() {
		h.in.Close()
		_ = h.cmd.Wait()
	})
	return h
}

// run runs one life.
func (h *harness) run(t testing.TB, fail int, errno unix.Errno, world uint32, child bool, operations []byte) outcome {
	t.Helper()
	b := order.AppendUint32(nil, uint32(fail))
	b = order.AppendUint32(b, uint32(errno))
	b = order.AppendUint32(b, world)
	b = order.AppendUint32(b, map[bool]uint32{true: 1}[child])
	b = order.AppendUint32(b, uint32(len(operations)))
	_, err := h.in.Write(append(b, operations...))
	require.NoError(t, err)
	line, err := h.lines.ReadString('\n')
	require.NoError(t, err)
	f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
	require.Len(t, f, 4, line)
	o := outcome{how: f[0], told: f[3]}
	o.calls, err = strconv.Atoi(f[1])
	require.NoError(t, err)
	o.failed, err = strconv.Atoi(f[2])
	require.NoError(t, err)
	if o.how == "crashed" {
		h.in.Close()
		_ = h.cmd.Wait()
		t.Fatalf("the forker has crashed: %s\n%s", line, h.said.String())
	}
	return o
}

// seeds are scripts of containers and commands, by their names, as package native has
// given them to Pool.Fork for containerd's default configuration.
func seeds(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/scripts/*")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	all := map[string][]byte{}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		require.NoError(t, err)
		all[filepath.Base(p)] = b
	}
	return all
}

// tolerated are the calls after whose failure a command is executed all the same, with
// the errors that are meant so; none is any.
var tolerated = map[int][]unix.Errno{
	unix.SYS_CLOSE:    nil, // it is closed all the same
	unix.SYS_UMASK:    nil, // these two can't fail
	unix.SYS_GETPID:   nil,
	unix.SYS_SENDMSG:  nil, // the hello: the shim then ends the forker
	unix.SYS_RECVFROM: {unix.EAGAIN},

	// Questions whether the kernel has a call. The first two also: a request that was
	// refused, and another that was not.
	unix.SYS_CLONE3: nil, unix.SYS_SETNS: nil,
	unix.SYS_CLOSE_RANGE: {unix.ENOENT, unix.EINVAL, unix.EACCES, unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.EEXIST},
	unix.SYS_OPEN_TREE:   {unix.ENOENT, unix.EINVAL, unix.EACCES, unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.EEXIST},
	unix.SYS_FACCESSAT2:  {unix.ENOENT, unix.EINVAL, unix.EACCES, unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.EEXIST},
	unix.SYS_PIDFD_OPEN:  {unix.ENOENT, unix.EINVAL, unix.EACCES, unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.EEXIST},

	// The container lacks what is to be hidden, or has no /dev/null: the forker's is
	// used. What has no type is not what is looked for.
	unix.SYS_OPENAT2: nil, unix.SYS_STATX: nil,
	// The empty directory is made in two ways.
	unix.SYS_FSOPEN: nil, unix.SYS_FSCONFIG: nil, unix.SYS_FSMOUNT: nil,
	unix.SYS_UNLINKAT:  nil,                       // the link that is made next fails
	unix.SYS_CHDIR:     nil,                       // the directory is made, and entered
	unix.SYS_MKNODAT:   {unix.EEXIST, unix.EPERM}, // what is there stays; the host's null is shown
	unix.SYS_SYMLINKAT: {unix.EEXIST},
	unix.SYS_KEYCTL:    {unix.ENOSYS},            // a kernel without keyrings
	unix.SYS_FCHOWN:    {unix.EPERM, unix.EROFS}, // a stream that can't be given away
	unix.SYS_PRCTL:     {unix.EINVAL},            // the kernel has no more capabilities
}

// Every system call fails once, with each of these errors: a new process executes
// nothing after a failure, but where that is meant, and says what failed.
func TestEveryCallFails(t *testing.T) {
	h := newHarness(t)
	errnos := []unix.Errno{unix.EPERM, unix.ENOENT, unix.EINVAL, unix.EACCES, unix.ENOSYS, unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.EEXIST}
	if testing.Short() {
		errnos = errnos[:3]
	}
	for name, script := range seeds(t) {
		whole := h.run(t, 0, 0, 0, true, script)
		require.Equal(t, "executed", whole.how, "%s: %+v", name, whole)
		for n := 1; n < whole.calls+1; n++ {
			for _, errno := range errnos {
				o := h.run(t, n, errno, 0, true, script)
				what := fmt.Sprintf("%s: call %d, of number %d: %v: %+v", name, n, o.failed, errno, o)
				switch o.how {
				case "executed":
					meant, known := tolerated[o.failed]
					require.True(t, known && (meant == nil || slices.Contains(meant, errno)), what)
				case "ended":
					if o.failed != unix.SYS_SENDMSG && o.failed != unix.SYS_READ && o.failed != unix.SYS_RECVFROM {
						require.NotEqual(t, "-", o.told, what)
					}
				case "unfit":
					require.True(t, strings.HasPrefix(o.told, "hello:") || o.failed == unix.SYS_SENDMSG, what)
				case "refused":
					require.Contains(t, []int{unix.SYS_SETNS, unix.SYS_CLONE3}, o.failed, what)
				case "left":
					require.Contains(t, []int{unix.SYS_RECVMSG, unix.SYS_SENDMSG}, o.failed, what)
				default:
					t.Fatal(what)
				}
			}
		}
	}
}

// The forker outlives what its kernel refuses, or ends; it keeps no descriptor.
func TestForkerFails(t *testing.T) {
	h := newHarness(t)
	whole := h.run(t, 0, 0, 0, false, nil)
	require.Equal(t, "left", whole.how, "%+v", whole)
	for n := 1; n <= whole.calls; n++ {
		for _, errno := range []unix.Errno{unix.EPERM, unix.ENOSYS, unix.EAGAIN, unix.ENOMEM, unix.EMFILE} {
			o := h.run(t, n, errno, 0, false, nil)
			require.Contains(t, []string{"left", "unfit"}, o.how, "call %d: %v: %+v", n, errno, o)
		}
	}
}

// Whatever the operations are, the process executes its command or ends with an
// error, in any container.
func FuzzOperations(f *testing.F) {
	h := newHarness(f)
	names := seeds(f)
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for n := range names {
			if !yield(n) {
				return
			}
		}
	}) {
		for world := range uint32(3) {
			f.Add(names[name], world, uint32(0))
		}
		f.Add(names[name][:len(names[name])/2], uint32(0), uint32(0))
	}
	for operation := range uint32(opGroups + 2) { // each alone, with nothing and with much
		head := binary.LittleEndian.AppendUint32(nil, operation)
		f.Add(append(slices.Clone(head), 0, 0, 0, 0), uint32(0), uint32(0))
		f.Add(append(append(slices.Clone(head), 64, 0, 0, 0), strings.Repeat("\x01\x00\x00\x00/a/../b\x00", 8)...), operation, uint32(0))
		f.Add(append(append(slices.Clone(head), 255, 255, 255, 255), strings.Repeat("\xff", 64)...), operation, uint32(0))
	}
	f.Fuzz(func(t *testing.T, operations []byte, world, fail uint32) {
		if len(operations) > 1<<20 {
			t.Skip("too long")
		}
		o := h.run(t, int(fail%2048), unix.EIO, world, true, operations)
		switch o.how {
		case "executed", "left", "unfit", "refused":
		case "ended":
			if o.failed < 0 && o.told == "-" {
				t.Fatalf("no error was told: %+v", o)
			}
		default:
			t.Fatalf("%+v", o)
		}
	})
}
