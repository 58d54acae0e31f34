//go:build seccomp

package seccomp

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"unsafe"

	profiles "github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/errdefs"
	runc "github.com/opencontainers/runc/libcontainer/seccomp"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
	libseccomp "github.com/seccomp/libseccomp-golang"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	pure "github.com/ctorhq/ctor/internal/shim/seccomp"
	"github.com/ctorhq/ctor/internal/shim/seccomp/seccomptest"
)

// The pure Go compiler answers every call as libcontainer's filter does, for the
// default profile with each set of capabilities that changes it.
func TestPureDefaultProfile(t *testing.T) {
	all := []string{
		"CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_CHROOT", "CAP_SYS_MODULE", "CAP_SYS_PACCT", "CAP_SYS_PTRACE",
		"CAP_SYS_RAWIO", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_SYS_NICE", "CAP_SYSLOG", "CAP_BPF", "CAP_PERFMON",
	}
	sets := [][]string{nil, all}
	for _, c := range all {
		sets = append(sets, []string{c})
	}
	for _, goarch := range []string{"amd64", "arm64"} {
		for _, caps := range sets {
			t.Run(fmt.Sprint(goarch, caps), func(t *testing.T) {
				p := defaultProfile(goarch, caps)
				ours, stock := compare(t, goarch, p)
				t.Logf("%d instructions, libcontainer %d", ours, stock)
				if goarch == runtime.GOARCH {
					require.Less(t, 4*ours, stock)
				}
			})
		}
	}
}

func defaultProfile(goarch string, capabilities []string) *specs.LinuxSeccomp {
	p := profiles.DefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: capabilities}}})
	if goarch != runtime.GOARCH {
		p.Architectures = []specs.Arch{specs.ArchARM, specs.ArchAARCH64}
		p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Action: specs.ActAllow, Names: []string{
			"arm_fadvise64_64", "arm_sync_file_range", "sync_file_range2", "breakpoint", "cacheflush", "set_tls",
		}})
	}
	return p
}

// All names that libseccomp knows have its numbers here, in all architectures:
// each has an errno of its own.
func TestPureNumbers(t *testing.T) {
	for _, goarch := range []string{"amd64", "arm64"} {
		for _, byDefault := range []specs.LinuxSeccompAction{specs.ActAllow, specs.ActKill} {
			for _, archs := range [][]specs.Arch{family(goarch), family(goarch)[:1], family(goarch)[:2]} {
				p := &specs.LinuxSeccomp{DefaultAction: byDefault, Architectures: archs}
				for i, name := range knownNames(t) {
					p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{name}, Action: specs.ActErrno, ErrnoRet: new(uint(1000 + i))})
				}
				compare(t, goarch, p)
			}
		}
	}
}

func family(goarch string) []specs.Arch {
	if goarch == "arm64" {
		return []specs.Arch{specs.ArchAARCH64, specs.ArchARM}
	}
	return []specs.Arch{specs.ArchX86_64, specs.ArchX32, specs.ArchX86}
}

// Calls that are newer than the profile are the same ones, also in short profiles.
func TestPureNewer(t *testing.T) {
	for _, names := range [][]string{{"read"}, {"write", "socket", "shmget"}, {"socket"}, {"openat2", "accept"}} {
		for _, byDefault := range []specs.LinuxSeccompAction{specs.ActErrno, specs.ActKill, specs.ActAllow, specs.ActLog, specs.ActTrace} {
			for _, archs := range [][]specs.Arch{nil, {specs.ArchX86}, {specs.ArchX32}} {
				for _, errno := range []*uint{nil, new(uint(unix.ENOSYS))} {
					compare(t, "amd64", &specs.LinuxSeccomp{
						DefaultAction: byDefault, DefaultErrnoRet: errno, Architectures: archs,
						Syscalls: []specs.LinuxSyscall{{Names: names, Action: specs.ActTrap}},
					})
				}
			}
		}
	}
}

// So do profiles that are made up.
func TestPureRandom(t *testing.T) {
	names := slices.DeleteFunc(knownNames(t), func(name string) bool {
		for _, arch := range everyArch {
			n, err := libseccomp.GetSyscallFromNameByArch(name, arch)
			if multiplexed := arch == libseccomp.ArchX86 && n < -100 && n > -300; err != nil || n < 0 && !multiplexed {
				return true
			}
		}
		return false
	})
	require.Greater(t, len(names), 200)
	for seed := range uint64(60) {
		goarch := "amd64"
		if seed%4 == 0 {
			goarch = "arm64"
		}
		p := seccomptest.Plain(rand.New(rand.NewPCG(seed, 0)), goarch, names)
		t.Run(fmt.Sprint(seed), func(t *testing.T) { compare(t, goarch, p) })
	}
}

var everyArch = []libseccomp.ScmpArch{libseccomp.ArchAMD64, libseccomp.ArchX32, libseccomp.ArchX86, libseccomp.ArchARM64, libseccomp.ArchARM}

// compare has both compile a profile, less the names that this libseccomp does not
// know yet, and returns the numbers of instructions.
func compare(t *testing.T, goarch string, p *specs.LinuxSeccomp) (ours, stock int) {
	t.Helper()
	p = withKnown(p)
	if p.Flags == nil {
		p.Flags = []specs.LinuxSeccompFlag{} // with flags, libcontainer loads in another way
	}
	if native := family(goarch)[0]; goarch != runtime.GOARCH && !slices.Contains(p.Architectures, native) {
		p.Architectures = append(slices.Clip(p.Architectures), native)
	}
	reference, _, err := catch(t, p)
	require.NoError(t, err)
	compiled, err := pure.CompileFor(goarch, p)
	require.NoError(t, err)
	one, err := seccomptest.NewMachine(compiled.Instructions)
	require.NoError(t, err)
	other, err := seccomptest.NewMachine(reference)
	require.NoError(t, err)
	differs, tried := seccomptest.Compare(p, seccomptest.Archs(goarch), 1, one, other)
	if differs != nil {
		text, err := json.Marshal(p)
		require.NoError(t, err)
		t.Fatalf("%#x: %#x, libcontainer %#x, of %s", *differs, one.Answer(*differs), other.Answer(*differs), text)
	}
	require.Greater(t, tried, 5000)
	return len(compiled.Instructions), len(reference)
}

// withKnown drops what libseccomp may not know yet, or not of all architectures:
// before 2.6 it had map_shadow_stack as amd64's alone, as Linux once did.
func withKnown(p *specs.LinuxSeccomp) *specs.LinuxSeccomp {
	c := *p
	c.Syscalls = nil
	for _, s := range p.Syscalls {
		s.Names = slices.DeleteFunc(slices.Clone(s.Names), func(name string) bool {
			_, err := libseccomp.GetSyscallFromName(name)
			return err != nil || name == "map_shadow_stack"
		})
		c.Syscalls = append(c.Syscalls, s)
	}
	return &c
}

// knownNames are the calls that this libseccomp knows.
func knownNames(t *testing.T) (names []string) {
	for _, arch := range everyArch {
		for n := range libseccomp.ScmpSyscall(0xf0010) {
			if n > 1000 && n < 0xf0000 {
				continue
			}
			if name, err := n.GetNameByArch(arch); err == nil {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	require.Greater(t, len(names), 400)
	return names
}

// The flags are libcontainer's.
func TestPureFlags(t *testing.T) {
	for _, flags := range [][]specs.LinuxSeccompFlag{
		nil,
		{specs.LinuxSeccompFlagLog},
		{specs.LinuxSeccompFlagSpecAllow},
		{specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow},
		{"SECCOMP_FILTER_FLAG_TSYNC"},
	} {
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Flags: flags, Syscalls: []specs.LinuxSyscall{{Names: []string{"write"}, Action: specs.ActAllow}}}
		_, want, err := catch(t, p)
		require.NoError(t, err)
		compiled, err := pure.Compile(p)
		require.NoError(t, err)
		require.Equal(t, want, compiled.Flags, flags)
	}
}

// What libcontainer refuses the compiler does too.
func TestPureRefuses(t *testing.T) {
	write := specs.LinuxSyscall{Names: []string{"write"}, Action: specs.ActAllow}
	for name, edit := range map[string]func(*specs.LinuxSeccomp){
		"default action": func(p *specs.LinuxSeccomp) { p.DefaultAction = "" },
		"action":         func(p *specs.LinuxSeccomp) { p.Syscalls[0].Action = "SCMP_ACT_NONE" },
		"architecture":   func(p *specs.LinuxSeccomp) { p.Architectures = []specs.Arch{"x86"} },
		"byte order":     func(p *specs.LinuxSeccomp) { p.Architectures = []specs.Arch{specs.ArchS390X} },
		"flag":           func(p *specs.LinuxSeccomp) { p.Flags = []specs.LinuxSeccompFlag{"FAST"} },
		"argument": func(p *specs.LinuxSeccomp) {
			p.Syscalls[0].Args = []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}}
		},
		"operator": func(p *specs.LinuxSeccomp) { p.Syscalls[0].Args = []specs.LinuxSeccompArg{{Op: "=="}} },
		"nameless": func(p *specs.LinuxSeccomp) { p.Syscalls[0].Names = []string{""} },
	} {
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Flags: []specs.LinuxSeccompFlag{}, Syscalls: []specs.LinuxSyscall{write}}
		_, err := pure.Compile(p)
		require.NoError(t, err, name)
		edit(p)
		_, _, err = catch(t, p)
		require.Error(t, err, name)
		_, err = pure.Compile(p)
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, name)
	}
}

// catch has libcontainer load a profile into a thread that is told to fail, and
// catches what it would have loaded.
func catch(t *testing.T, p *specs.LinuxSeccomp) (program []unix.SockFilter, flags uint, err error) {
	t.Helper()
	config, err := specconv.SetupSeccomp(p)
	if err != nil {
		return nil, 0, err
	}
	// libcontainer makes the call without telling Go's scheduler.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	listener := make(chan int)
	ended := make(chan error, 1)
	go onNewThread(func() {
		fd, err := listen()
		listener <- fd
		if err == nil {
			_, err = runc.InitSeccomp(config)
		}
		ended <- err
	})
	fd := <-listener
	if fd < 0 {
		return nil, 0, <-ended
	}
	defer unix.Close(fd)
	for err = errRunning; err == errRunning; {
		select {
		case err = <-ended:
		default:
			if p, f := intercept(fd); p != nil {
				program, flags = p, f
			}
		}
	}
	if program == nil && err == nil {
		err = errors.New("nothing was loaded")
	}
	if program != nil {
		err = nil
	}
	return program, flags, err
}

var errRunning = errors.New("not ended")

// onNewThread runs f on a thread that ends with it, as the main thread never does.
func onNewThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		defer runtime.UnlockOSThread()
		done := make(chan struct{})
		go func() {
			defer close(done)
			onNewThread(f)
		}()
		<-done
		return
	}
	f()
}

// listen has this thread's attempts to load filters told to the descriptor that it
// returns.
func listen() (int, error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, err
	}
	const ld, jeq, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	filter := []unix.SockFilter{
		{Code: ld, K: 0},
		{Code: jeq, Jt: 3, K: unix.SYS_SECCOMP},
		{Code: jeq, Jf: 3, K: unix.SYS_PRCTL},
		{Code: ld, K: 16},
		{Code: jeq, Jf: 1, K: unix.PR_SET_SECCOMP},
		{Code: ret, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
	}
	fprog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// intercept waits a little for an attempt, and answers it: libseccomp's trials go
// on, and the load fails.
func intercept(fd int) (program []unix.SockFilter, flags uint) {
	const receive, send = 0xc0502100, 0xc0182101
	type notification struct {
		id         uint64
		pid, flags uint32
		nr         int32
		arch       uint32
		ip         uint64
		args       [6]uint64
	}
	type response struct {
		id    uint64
		value int64
		error int32
		flags uint32
	}
	ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(ready, 1); n == 0 || err != nil || ready[0].Revents&unix.POLLIN == 0 {
		return nil, 0
	}
	var n notification
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), receive, uintptr(unsafe.Pointer(&n))); errno != 0 {
		return nil, 0 // it was interrupted, and comes again
	}
	r := response{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	if n.args[2] != 0 && (n.nr == unix.SYS_PRCTL || n.args[0] == unix.SECCOMP_SET_MODE_FILTER) {
		program = read(uintptr(n.args[2]))
		if n.nr == unix.SYS_SECCOMP {
			flags = uint(n.args[1])
		}
		r.flags, r.error = 0, -int32(unix.ENOTSUP)
	}
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), send, uintptr(unsafe.Pointer(&r)))
	return program, flags
}

// read gets a struct sock_fprog of this process, not by a pointer, since its
// memory is not known to be Go's.
func read(fprog uintptr) []unix.SockFilter {
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		return nil
	}
	defer memory.Close()
	var header [16]byte
	if _, err := memory.ReadAt(header[:], int64(fprog)); err != nil {
		return nil
	}
	code := make([]byte, 8*int(binary.NativeEndian.Uint16(header[:])))
	if _, err := memory.ReadAt(code, int64(binary.NativeEndian.Uint64(header[8:]))); err != nil {
		return nil
	}
	program := make([]unix.SockFilter, len(code)/8)
	for i := range program {
		b := code[8*i:]
		program[i] = unix.SockFilter{Code: binary.NativeEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.NativeEndian.Uint32(b[4:])}
	}
	return program
}
