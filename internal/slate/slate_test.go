package slate

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/reexec"
	"github.com/ctorhq/ctor/internal/thread"
)

// The test binary is also a program that was started dirty, and its shim: it gets
// descriptor 3 on purpose, and tells there what it has inherited.
func TestMain(m *testing.M) {
	var err error
	switch os.Getenv("SLATE") {
	case "program":
		soilProcess()
		err = startShim()
	case "shim":
		if err = Settle(3); err == nil {
			err = json.NewEncoder(os.NewFile(3, "told")).Encode(inherited())
		}
	case "dirty":
		soilProcess()
		err = json.NewEncoder(os.NewFile(3, "told")).Encode(inherited())
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func startShim() error {
	p, err := Start(reexec.Self, []string{"shim"}, &os.ProcAttr{
		Env: Environ([]string{"PATH"}, "SLATE=shim"), Files: []*os.File{nil, nil, os.Stderr, os.NewFile(3, "told")},
	})
	if err != nil {
		return err
	}
	state, err := p.Wait()
	if err == nil && !state.Success() {
		err = fmt.Errorf("shim: %v", state)
	}
	return err
}

// inherited is what can be told of this process.
func inherited() map[string]string {
	all := map[string]string{}
	status, _ := os.ReadFile("/proc/thread-self/status")
	for _, name := range []string{"SigBlk", "SigIgn"} {
		set, err := signals(status, name)
		all[name] = fmt.Sprint(set, err)
	}
	mask := unix.Umask(0)
	unix.Umask(mask)
	all["umask"] = fmt.Sprintf("%03o", mask)
	for _, name := range []string{"oom_score_adj", "personality", "timerslack_ns"} {
		b, err := os.ReadFile("/proc/self/" + name)
		all[name] = fmt.Sprintf("%s%v", b, err)
	}
	attr, err := unix.SchedGetAttr(0, 0)
	all["scheduling"] = fmt.Sprint(attr.Policy, attr.Nice, err)
	io, _, _ := unix.RawSyscall(unix.SYS_IOPRIO_GET, ioprioWhoProcess, 0, 0)
	all["I/O priority"] = fmt.Sprint(io)
	var cpus unix.CPUSet
	err = unix.SchedGetaffinity(0, &cpus)
	all["processors"] = fmt.Sprint(cpus.Count(), err)
	maps, err := os.ReadFile("/proc/self/numa_maps")
	_, policy, _ := strings.Cut(string(maps), " ")
	policy, _, _ = strings.Cut(policy, " ")
	all["memory policy"] = fmt.Sprint(policy, err)
	huge, err := unix.PrctlRetInt(unix.PR_GET_THP_DISABLE, 0, 0, 0, 0)
	all["huge pages"] = fmt.Sprint(huge, err)
	name, _ := unix.KeyctlString(unix.KEYCTL_DESCRIBE, unix.KEY_SPEC_SESSION_KEYRING)
	all["keyring"] = fmt.Sprint(strings.HasSuffix(name, ";dirty"))
	fds, err := os.ReadDir("/proc/self/fd")
	strays := 0
	for _, fd := range fds {
		var n int
		if _, err := fmt.Sscan(fd.Name(), &n); err != nil || n <= 3 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			strays++
		}
	}
	all["descriptors"] = fmt.Sprint(strays, err)
	all["environment"] = fmt.Sprint(os.Getenv("SECRET"), os.Getenv("TMPDIR"))
	return all
}

// told executes the test binary as something, after soil, and gives what it tells.
func told(t *testing.T, as string, soil func()) map[string]string {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	lock, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer lock.Close()
	// A shell ignores and blocks signals, which a Go program can't hand on.
	cmd := exec.Command("env", "--ignore-signal=TSTP", "--ignore-signal=HUP", "--block-signal=USR1", "/proc/"+fmt.Sprint(os.Getpid())+"/exe")
	cmd.Env = append(os.Environ(), "SLATE="+as, "SECRET=x", "TMPDIR=/no/such")
	cmd.ExtraFiles = []*os.File{w, lock, lock}
	cmd.Stderr = os.Stderr
	thread.Apart(func() {
		soil()
		err = cmd.Start()
	})
	w.Close()
	require.NoError(t, err)
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
	var all map[string]string
	require.NoError(t, json.Unmarshal(b, &all), "%s", b)
	return all
}

// soilProcess changes what all threads have.
func soilProcess() {
	_ = unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0)
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("300"), 0)
}

// soil changes all that depends on a thread.
func soil() {
	_ = unix.Unshare(unix.CLONE_FS)
	unix.Umask(0o077)
	attr, _ := unix.SchedGetAttr(0, 0)
	attr.Policy, attr.Nice = unix.SCHED_BATCH, 5
	_ = unix.SchedSetAttr(0, attr, 0)
	_, _, _ = unix.RawSyscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, 3<<13) // idle
	var one unix.CPUSet
	one.Set(0)
	_ = unix.SchedSetaffinity(0, &one)
	_, _, _ = unix.RawSyscall(unix.SYS_SET_MEMPOLICY, 4, 0, 0)       // MPOL_LOCAL
	_, _, _ = unix.RawSyscall(unix.SYS_PERSONALITY, 0x0040000, 0, 0) // ADDR_NO_RANDOMIZE
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 70_000, 0, 0, 0)
	_, _ = unix.KeyctlJoinSessionKeyring("dirty")
}

// What a shim inherits of a program that inherited the worst is what it inherits
// of any other.
func TestSlate(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	var all unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(1, &all))
	clean := map[string]string{
		"SigBlk": "0 <nil>", "SigIgn": "0 <nil>", "umask": "022", "oom_score_adj": "0\n<nil>",
		"personality": "00000000\n<nil>", "timerslack_ns": "50000\n<nil>", "scheduling": "0 0 <nil>", "I/O priority": "0",
		"processors": fmt.Sprint(all.Count(), nil), "keyring": "false", "descriptors": "0 <nil>", "environment": "",
		"huge pages": "0 <nil>",
	}
	before := told(t, "dirty", soil)
	after := told(t, "program", soil)
	if strings.HasPrefix(before["memory policy"], "local") { // the kernel has NUMA
		clean["memory policy"] = "default<nil>"
	} else {
		delete(after, "memory policy")
	}
	require.Equal(t, clean, after)
	for name, is := range clean {
		if name != "processors" || all.Count() > 1 {
			require.NotEqual(t, is, before[name], name)
		}
	}
}

// Nothing that is the program's own is changed by starting a shim.
func TestStartChangesNothing(t *testing.T) {
	before := inherited()
	for range 20 {
		p, err := Start("/bin/true", []string{"true"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{Setsid: true}})
		require.NoError(t, err)
		_, err = p.Wait()
		require.NoError(t, err)
	}
	require.Equal(t, before, inherited())
}
