package libcontainer

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/cmd/containerd-shim-ctor-v2/seccomp"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// The filter that is live in a container's process is, byte for byte, what
// libcontainer loads when left alone. libcontainer orders the architectures in
// its ENOSYS instructions at random, so it gets some attempts.
func TestFilterIsStock(t *testing.T) {
	d := newDriver(t)
	arg := specs.LinuxSeccompArg{Index: 0, Value: 8, Op: specs.OpNotEqual}
	for name, edit := range map[string]func(*specs.Spec){
		"default":             func(*specs.Spec) {},
		"with new privileges": func(s *specs.Spec) { s.Process.NoNewPrivileges = false },
		"no flags":            func(s *specs.Spec) { s.Linux.Seccomp.Flags = []specs.LinuxSeccompFlag{} },
		"logged":              func(s *specs.Spec) { s.Linux.Seccomp.Flags = []specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_LOG"} },
		"one architecture":    func(s *specs.Spec) { s.Linux.Seccomp.Architectures = []specs.Arch{specs.ArchX86_64} },
		"no architecture":     func(s *specs.Spec) { s.Linux.Seccomp.Architectures = nil },
		"default errno":       func(s *specs.Spec) { s.Linux.Seccomp.DefaultErrnoRet = new(uint(unix.ENOSYS)) },
		"kill by default":     func(s *specs.Spec) { s.Linux.Seccomp.DefaultAction = specs.ActKillProcess },
		"trap by default":     func(s *specs.Spec) { s.Linux.Seccomp.DefaultAction = specs.ActTrap },
		"allowed by default":  func(s *specs.Spec) { *s.Linux.Seccomp = denyOne() },
		"an unknown syscall": func(s *specs.Spec) {
			s.Linux.Seccomp.Syscalls[0].Names = append([]string{"nosuch"}, s.Linux.Seccomp.Syscalls[0].Names...)
		},
		"an argument's values": func(s *specs.Spec) {
			add(s, specs.LinuxSyscall{Names: []string{"personality"}, Action: specs.ActErrno, ErrnoRet: new(uint(5)), Args: []specs.LinuxSeccompArg{arg}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			mine, status := filterOf(t, d, edit)
			require.NotEmpty(t, mine)
			require.Contains(t, status, "Seccomp_filters:\t1\n")
			defer func() { d.exec.ready = d.exec.filters.Ready }()
			d.exec.ready = func(_ context.Context, p *configs.Seccomp) (*configs.Seccomp, error) { return p, nil }
			for range 100 {
				stock, stockStatus := filterOf(t, d, edit)
				require.Equal(t, stockStatus, status)
				require.Equal(t, len(stock), len(mine))
				if stock == mine {
					return
				}
			}
			t.Fatal("never the same")
		})
	}
}

// One that another executor has compiled and left on the disk is the same, and
// where that was damaged there is one all the same.
func TestFilterFromDisk(t *testing.T) {
	d := newDriver(t)
	dir := filepath.Join(d.dir, "filters")
	fresh := func() { d.exec.filters = seccomp.Cache{Dir: dir} }
	fresh()
	stock, stockStatus := filterOf(t, d, func(*specs.Spec) {})
	files, err := filepath.Glob(dir + "/*")
	require.NoError(t, err)
	require.Len(t, files, 1)
	stored, err := os.ReadFile(files[0])
	require.NoError(t, err)
	for _, damage := range []func(){
		func() {},
		func() { require.NoError(t, os.WriteFile(files[0], stored[:len(stored)/2], 0o600)) },
		func() { require.NoError(t, os.WriteFile(files[0], make([]byte, len(stored)), 0o600)) },
	} {
		damage()
		same := false
		for range 100 {
			fresh()
			mine, status := filterOf(t, d, func(*specs.Spec) {})
			require.Equal(t, stockStatus, status)
			require.Equal(t, len(stock), len(mine))
			if same = stock == mine; same {
				break
			}
		}
		require.True(t, same)
		now, err := os.ReadFile(files[0])
		require.NoError(t, err)
		require.Equal(t, len(stored), len(now))
	}
}

func denyOne() specs.LinuxSeccomp {
	return specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"chroot"}, Action: specs.ActErrno}}}
}

func add(s *specs.Spec, call specs.LinuxSyscall) {
	s.Linux.Seccomp.Syscalls = append([]specs.LinuxSyscall{call}, s.Linux.Seccomp.Syscalls...)
}

// filterOf is the filter of a container's process, checked to be that of a
// process started in it too, and what else its status says of it.
func filterOf(t *testing.T, d *driver, edit func(*specs.Spec)) (program, status string) {
	spec := d.spec("f", "sleep", "1000")
	edit(spec)
	c, p, err := d.exec.Create(t.Context(), d.bundle(spec, "f"), task.Stdio{})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Delete(context.Background())) }()
	defer wait(t, p.Pid)
	defer func() { _ = unix.Kill(p.Pid, unix.SIGKILL) }()
	require.NoError(t, c.Start(t.Context()))
	program = liveFilter(t, p.Pid)
	b, err := os.ReadFile("/proc/" + strconv.Itoa(p.Pid) + "/status")
	require.NoError(t, err)
	for _, line := range regexp.MustCompile(`(?m)^(Seccomp|NoNewPrivs|Speculation).*\n`).FindAllString(string(b), -1) {
		status += line
	}
	more, err := c.Exec(t.Context(), "e", spec.Process, task.Stdio{})
	require.NoError(t, err)
	defer wait(t, more.Pid)
	defer func() { _ = unix.Kill(more.Pid, unix.SIGKILL) }()
	require.Equal(t, len(program), len(liveFilter(t, more.Pid)))
	return program, status
}

// liveFilter asks the kernel for the one filter of a process.
func liveFilter(t *testing.T, pid int) string {
	const getFilter = 0x420c // PTRACE_SECCOMP_GET_FILTER
	runtime.LockOSThread()   // ptrace's tracers are threads
	defer runtime.UnlockOSThread()
	require.NoError(t, unix.PtraceAttach(pid))
	defer func() { _ = unix.PtraceDetach(pid) }()
	var status unix.WaitStatus
	_, err := unix.Wait4(pid, &status, unix.WALL, nil)
	require.NoError(t, err)
	require.True(t, status.Stopped())
	n, _, errno := unix.Syscall6(unix.SYS_PTRACE, getFilter, uintptr(pid), 0, 0, 0, 0)
	if errno == unix.EIO || errno == unix.EACCES {
		t.Skipf("this kernel does not tell filters: %v", errno)
	}
	require.Zero(t, errno)
	program := make([]byte, n*8)
	_, _, errno = unix.Syscall6(unix.SYS_PTRACE, getFilter, uintptr(pid), 0, uintptr(unsafe.Pointer(&program[0])), 0, 0)
	require.Zero(t, errno)
	_, _, errno = unix.Syscall6(unix.SYS_PTRACE, getFilter, uintptr(pid), 1, 0, 0, 0)
	require.Equal(t, unix.ENOENT, errno, "more than one filter")
	return string(program)
}

// Whatever happens to the ready filter, no process runs without it.
func TestFilterFailsClosed(t *testing.T) {
	d := newDriver(t)
	for name, damage := range map[string]func(string) []string{
		"missing":          func(string) []string { return nil },
		"empty":            func(s string) []string { return []string{s[:strings.LastIndexByte(s, ':')+1]} },
		"nothing":          func(s string) []string { return []string{s[:strings.IndexByte(s, ':')+1]} },
		"truncated":        func(s string) []string { return []string{s[:len(s)-4]} },
		"cut in its head":  func(s string) []string { return []string{s[:20]} },
		"another byte":     func(s string) []string { return []string{s[:200] + flip(s[200]) + s[201:]} },
		"another hash":     func(s string) []string { return []string{s[:25] + flip(s[25]) + s[26:]} },
		"no base64":        func(s string) []string { return []string{s[:200] + "!" + s[201:]} },
		"too long":         func(s string) []string { return []string{s + "AAAA"} },
		"twice":            func(s string) []string { return []string{s, s} },
		"no valid program": func(s string) []string { return []string{"ctor-ready:00000008:a8c7f832281a39c5:AAAAAAAAAAA"} },
		"another prefix":   func(s string) []string { return []string{"x" + s} },
	} {
		t.Run(name, func(t *testing.T) {
			for _, noNewPrivileges := range []bool{true, false} {
				d.exec.ready = func(ctx context.Context, p *configs.Seccomp) (*configs.Seccomp, error) {
					good, err := d.exec.filters.Ready(ctx, p)
					require.NoError(t, err)
					bad := *good
					bad.Syscalls = nil
					for _, s := range damage(good.Syscalls[0].Name) {
						bad.Syscalls = append(bad.Syscalls, &configs.Syscall{Name: s, Action: configs.Allow})
					}
					bad.Syscalls = append(bad.Syscalls, good.Syscalls[1:]...)
					return &bad, nil
				}
				spec := d.spec("c", "sh", "-c", "echo ran > /tmp/ran")
				spec.Process.NoNewPrivileges = noNewPrivileges
				c, p, err := d.exec.Create(t.Context(), d.bundle(spec, "c"), task.Stdio{})
				if err == nil {
					// libcontainer loaded the stand-in itself.
					require.Equal(t, 128+int(unix.SIGSYS), wait(t, p.Pid))
					require.Error(t, c.Start(t.Context()))
					require.NoError(t, c.Delete(t.Context()))
				}
				require.Equal(t, name == "missing" || name == "another prefix", err == nil, err)
				require.NoFileExists(t, d.rootfs+"/tmp/ran")
				require.Empty(t, d.remains())
			}
		})
	}
}

func flip(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}

// A profile may not bring a program of its own.
func TestFilterIsNotTheProfiles(t *testing.T) {
	d := newDriver(t)
	spec := d.spec("own", "true")
	add(spec, specs.LinuxSyscall{Names: []string{"ctor-ready:x"}, Action: specs.ActAllow})
	err := third(d.exec.Create(t.Context(), d.bundle(spec, "own"), task.Stdio{}))
	require.ErrorContains(t, err, "is no syscall")
}

func TestNoFilter(t *testing.T) {
	d := newDriver(t)
	spec := d.spec("none", "grep", "Seccomp:", "/proc/self/status")
	spec.Linux.Seccomp = nil
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	c, p, err := d.exec.Create(t.Context(), d.bundle(spec, "none"), task.Stdio{Out: w})
	w.Close()
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context()))
	require.Zero(t, wait(t, p.Pid))
	out := make([]byte, 100)
	n, err := r.Read(out)
	require.NoError(t, err)
	require.Equal(t, "Seccomp:\t0\n", string(out[:n]))
	require.NoError(t, c.Delete(t.Context()))
}
