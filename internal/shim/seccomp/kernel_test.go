package seccomp_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/seccomp"
)

// The kernel takes a program, and does what it says.
func TestKernel(t *testing.T) {
	for name, c := range map[string]struct {
		profile *specs.LinuxSeccomp
		want    string
	}{
		"default": {defaultProfile(), "getpid 0, unix socket 0, crypto socket EPERM, personality 0, other personality EPERM, unshare EPERM, clone3 ENOSYS, newer ENOSYS"},
		"privileged": {
			defaultProfile("CAP_SYS_ADMIN"),
			"getpid 0, unix socket 0, crypto socket EPERM, personality 0, other personality EPERM, unshare 0, clone3 EINVAL, newer ENOSYS",
		},
		"allowed by default": {
			&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{
				Names: []string{"personality"}, Action: specs.ActErrno, ErrnoRet: new(uint(unix.EXDEV)),
				Args: []specs.LinuxSeccompArg{{Index: 0, Op: specs.OpLessThan, Value: 1 << 20}},
			}}},
			"getpid 0, unix socket 0, crypto socket EAFNOSUPPORT, personality 0, other personality EXDEV, unshare 0, clone3 EINVAL, newer ENOSYS",
		},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(c.profile)
			require.NoError(t, err)
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), confinedEnv+"="+string(text))
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			require.Equal(t, c.want, string(out))
		})
	}
}

// confinedEnv has a profile for a test binary that is executed again.
const confinedEnv = "CTOR_SECCOMP_TEST_PROFILE"

// confined loads the profile into a thread, which then makes some calls.
func confined() {
	runtime.LockOSThread()
	var p specs.LinuxSeccomp
	check(json.Unmarshal([]byte(os.Getenv(confinedEnv)), &p))
	program, err := seccomp.Compile(&p)
	check(err)
	check(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	fprog := unix.SockFprog{Len: uint16(len(program.Instructions)), Filter: &program.Instructions[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(program.Flags), uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		check(errno)
	}
	comma := ""
	for _, c := range []struct {
		name string
		nr   uintptr
		args [3]uintptr
	}{
		{"getpid", unix.SYS_GETPID, [3]uintptr{}},
		{"unix socket", unix.SYS_SOCKET, [3]uintptr{unix.AF_UNIX, unix.SOCK_STREAM, 0}},
		{"crypto socket", unix.SYS_SOCKET, [3]uintptr{unix.AF_ALG, unix.SOCK_STREAM, 0}},
		{"personality", unix.SYS_PERSONALITY, [3]uintptr{0xffffffff}},
		{"other personality", unix.SYS_PERSONALITY, [3]uintptr{0x40000}},
		{"unshare", unix.SYS_UNSHARE, [3]uintptr{unix.CLONE_NEWUTS}},
		{"clone3", unix.SYS_CLONE3, [3]uintptr{}},
		{"newer", 1000, [3]uintptr{}},
	} {
		_, _, errno := unix.RawSyscall(c.nr, c.args[0], c.args[1], c.args[2])
		result := "0"
		if errno != 0 {
			result = unix.ErrnoName(errno)
		}
		fmt.Printf("%s%s %s", comma, c.name, result)
		comma = ", "
	}
	os.Exit(0)
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
