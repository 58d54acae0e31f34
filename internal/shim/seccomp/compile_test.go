package seccomp_test

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	profiles "github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/seccomp"
	"github.com/ctorhq/ctor/internal/shim/seccomp/seccomptest"
)

func TestMain(m *testing.M) {
	if os.Getenv(confinedEnv) != "" {
		confined()
	}
	os.Exit(m.Run())
}

func defaultProfile(capabilities ...string) *specs.LinuxSeccomp {
	return profiles.DefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: capabilities}}})
}

func one(action specs.LinuxSeccompAction, args ...specs.LinuxSeccompArg) *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Names: []string{"write"}, Action: action, Args: args}}}
}

func TestNoProfile(t *testing.T) {
	for _, p := range []*specs.LinuxSeccomp{nil, {}} {
		program, err := seccomp.Compile(p)
		require.NoError(t, err)
		require.Nil(t, program)
	}
}

// The default profile is short: each start of a container pays for its length.
func TestLength(t *testing.T) {
	program, err := seccomp.Compile(defaultProfile())
	require.NoError(t, err)
	t.Logf("%d instructions", len(program.Instructions))
	require.Less(t, len(program.Instructions), 280)
}

// What a rule says holds for the arguments that it names, and for no others.
func TestMeaning(t *testing.T) {
	names := seccomp.Names()
	compiled, refused := 0, 0
	for seed := range uint64(300) {
		goarch := []string{"amd64", "arm64"}[seed%2]
		p := seccomptest.Random(rand.New(rand.NewPCG(seed, 0)), goarch, names)
		if same(t, goarch, 1, p) {
			compiled++
		} else {
			refused++
		}
	}
	t.Logf("%d compiled, %d refused", compiled, refused)
	require.Less(t, 4*refused, compiled)
	require.True(t, same(t, runtime.GOARCH, 1, defaultProfile()))
}

// Each call has its own number, in each architecture that is in the profile.
func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		goarch string
		archs  []specs.Arch
	}{
		{"amd64", []specs.Arch{specs.ArchX86, specs.ArchX32}},
		{"amd64", []specs.Arch{specs.ArchX32, specs.ArchAARCH64}},
		{"amd64", nil},
		{"arm64", []specs.Arch{specs.ArchAARCH64, specs.ArchARM}},
		{"arm64", nil},
	} {
		for _, byDefault := range []specs.LinuxSeccompAction{specs.ActAllow, specs.ActKillProcess} {
			p := &specs.LinuxSeccomp{DefaultAction: byDefault, Architectures: c.archs}
			for i, name := range seccomp.Names() {
				p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{name}, Action: specs.ActErrno, ErrnoRet: new(uint(1000 + i))})
			}
			require.True(t, same(t, c.goarch, 1, p))
		}
	}
}

// Which calls are newer than the profile is found as libcontainer does, also where
// that is odd: see (*profile).newer.
func TestNewer(t *testing.T) {
	for _, names := range [][]string{{"read"}, {"restart_syscall"}, {"write", "socket", "shmget"}, {"socket"}, {"nosuch"}, {"mseal", "accept"}} {
		for _, byDefault := range []specs.LinuxSeccompAction{specs.ActErrno, specs.ActKill, specs.ActAllow, specs.ActLog, specs.ActTrace} {
			for _, archs := range [][]specs.Arch{nil, {specs.ArchX86}, {specs.ArchX32}} {
				for _, errno := range []*uint{nil, new(uint(unix.ENOSYS))} {
					p := &specs.LinuxSeccomp{DefaultAction: byDefault, DefaultErrnoRet: errno, Architectures: archs}
					p.Syscalls = []specs.LinuxSyscall{{Names: names, Action: specs.ActTrap}}
					require.True(t, same(t, "amd64", 1, p))
				}
			}
		}
	}
}

// same compares a program with the model, for each so many-th call; false if the profile does not compile.
func same(t *testing.T, goarch string, every int, p *specs.LinuxSeccomp) bool {
	t.Helper()
	program, err := seccomp.CompileFor(goarch, p)
	if errors.Is(err, errdefs.ErrNotImplemented) || errors.Is(err, errdefs.ErrInvalidArgument) {
		require.Nil(t, program)
		return false
	}
	require.NoError(t, err)
	if program == nil {
		return false
	}
	machine, err := seccomptest.NewMachine(program.Instructions)
	require.NoError(t, err)
	m := newModel(goarch, p)
	if differs, _ := seccomptest.Compare(p, seccomptest.Archs(goarch), every, machine, m); differs != nil {
		text, err := json.Marshal(p)
		require.NoError(t, err)
		t.Fatalf("%#x: %#x, want %#x, of %s for %s", *differs, machine.Answer(*differs), m.Answer(*differs), text, goarch)
	}
	return true
}

// Whatever a profile says, there is an error, or a program that the kernel takes and
// that means the same.
func FuzzCompile(f *testing.F) {
	for seed := range uint64(8) {
		text, err := json.Marshal(seccomptest.Random(rand.New(rand.NewPCG(seed, 0)), "amd64", seccomp.Names()))
		require.NoError(f, err)
		f.Add(string(text), seed%2 == 0)
	}
	text, err := json.Marshal(defaultProfile())
	require.NoError(f, err)
	f.Add(string(text), true)
	f.Fuzz(func(t *testing.T, text string, amd64 bool) {
		var p specs.LinuxSeccomp
		if json.Unmarshal([]byte(text), &p) != nil {
			return
		}
		goarch := "amd64"
		if !amd64 {
			goarch = "arm64"
		}
		same(t, goarch, 29, &p)
	})
}

func TestErrors(t *testing.T) {
	invalid, notImplemented := errdefs.ErrInvalidArgument, errdefs.ErrNotImplemented
	edited := func(edit func(*specs.LinuxSeccomp)) *specs.LinuxSeccomp {
		p := one(specs.ActAllow)
		edit(p)
		return p
	}
	for _, c := range []struct {
		p       *specs.LinuxSeccomp
		class   error
		message string
	}{
		{edited(func(p *specs.LinuxSeccomp) { p.DefaultAction = "" }), invalid, `default action: unknown action ""`},
		{edited(func(p *specs.LinuxSeccomp) { p.DefaultAction = "ALLOW" }), invalid, `default action: unknown action "ALLOW"`},
		{edited(func(p *specs.LinuxSeccomp) { p.DefaultErrnoRet = new(uint(1 << 16)) }), invalid, "errnoRet 65536 has more than 16 bits"},
		{edited(func(p *specs.LinuxSeccomp) { p.Flags = []specs.LinuxSeccompFlag{"FAST"} }), invalid, `unknown flag "FAST"`},
		{edited(func(p *specs.LinuxSeccomp) { p.Architectures = []specs.Arch{"x86"} }), invalid, `unknown architecture "x86"`},
		{edited(func(p *specs.LinuxSeccomp) { p.Architectures = []specs.Arch{specs.ArchS390X} }), invalid, "big-endian"},
		{edited(func(p *specs.LinuxSeccomp) { p.Syscalls[0].Names = []string{""} }), invalid, "rule 0: a call without a name"},
		{one("ALLOW"), invalid, `rule 0: unknown action "ALLOW"`},
		{one(specs.ActAllow, specs.LinuxSeccompArg{Index: 6, Op: specs.OpEqualTo}), invalid, "rule 0: argument 6: calls have six, from 0 on"},
		{one(specs.ActAllow, specs.LinuxSeccompArg{Op: "=="}), invalid, `rule 0: unknown operator "=="`},
		{one(specs.ActNotify), notImplemented, "SCMP_ACT_NOTIFY asks a supervisor"},
		{edited(func(p *specs.LinuxSeccomp) { p.DefaultAction = specs.ActNotify }), notImplemented, "SCMP_ACT_NOTIFY asks a supervisor"},
		{edited(func(p *specs.LinuxSeccomp) {
			p.Flags = []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagWaitKillableRecv}
		}), notImplemented, "is about a supervisor"},
		{tooLong(), notImplemented, "instructions, the kernel 4096"},
		{ambiguous(), notImplemented, "write: its rules give different answers to the same arguments"},
	} {
		program, err := seccomp.Compile(c.p)
		require.ErrorIs(t, err, c.class)
		require.ErrorContains(t, err, c.message)
		require.Nil(t, program)
	}
	_, err := seccomp.CompileFor("riscv64", one(specs.ActAllow))
	require.ErrorIs(t, err, notImplemented)
}

func tooLong() *specs.LinuxSeccomp {
	p := one(specs.ActAllow)
	for i := range uint64(4000) {
		arg := specs.LinuxSeccompArg{Index: 1, Op: specs.OpMaskedEqual, Value: 0xf0000000ffff, ValueTwo: i}
		p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{arg}})
	}
	return p
}

func ambiguous() *specs.LinuxSeccomp {
	p := one(specs.ActAllow, specs.LinuxSeccompArg{Index: 1, Op: specs.OpLessThan, Value: 5})
	p.Syscalls = append(p.Syscalls, one(specs.ActTrap, specs.LinuxSeccompArg{Index: 1, Op: specs.OpGreaterEqual, Value: 4}).Syscalls...)
	return p
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		flags []specs.LinuxSeccompFlag
		want  uint
	}{
		{nil, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		{[]specs.LinuxSeccompFlag{}, 0},
		{[]specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog}, unix.SECCOMP_FILTER_FLAG_LOG},
		{[]specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow}, unix.SECCOMP_FILTER_FLAG_LOG | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		{[]specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_TSYNC"}, 0},
	} {
		p := one(specs.ActAllow)
		p.Flags = c.flags
		program, err := seccomp.Compile(p)
		require.NoError(t, err)
		require.Equal(t, c.want, program.Flags)
	}
}

// The table is what generate.go makes of the golang.org/x/sys that is required now:
// after an update, run go generate.
func TestTable(t *testing.T) {
	cmd := exec.Command("go", "run", "generate.go", "-")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	want, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	have, err := os.ReadFile("calls.go")
	require.NoError(t, err)
	require.Equal(t, string(want), string(have))
}

func BenchmarkCompile(b *testing.B) {
	p := defaultProfile()
	for b.Loop() {
		if _, err := seccomp.Compile(p); err != nil {
			b.Fatal(err)
		}
	}
}
