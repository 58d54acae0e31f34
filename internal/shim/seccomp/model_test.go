package seccomp_test

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/seccomp"
	"github.com/ctorhq/ctor/internal/shim/seccomp/seccomptest"
)

// model answers calls by reading the profile rule by rule, as the package's
// documentation says what they mean. It is for profiles that compile.
type model struct {
	goarch string
	*specs.LinuxSeccomp
	byDefault uint32
	columns   map[string]*column
}

// column is what a profile says of an architecture.
type column struct {
	highest  uint32 // of the calls that it names
	byNumber map[uint32][]entry
}

// entry is a rule under one name.
type entry struct {
	specs.LinuxSyscall
	through uint32 // not 0: for the call by which this one is made, with this argument
}

func newModel(goarch string, p *specs.LinuxSeccomp) model {
	m := model{goarch, p, action(p.DefaultAction, p.DefaultErrnoRet), map[string]*column{}}
	for _, name := range []string{"amd64", "x32", "386", "arm64", "arm"} {
		c := &column{byNumber: map[uint32][]entry{}}
		for _, s := range p.Syscalls {
			for _, call := range s.Names {
				c.add(name, call, s)
			}
		}
		m.columns[name] = c
	}
	return m
}

func (c *column) add(arch, call string, s specs.LinuxSyscall) {
	by := multiplexer(call)
	if arch != "386" {
		by = ""
	}
	if by != "" {
		n, _ := seccomp.Number(arch, by)
		c.byNumber[n] = append(c.byNumber[n], entry{s, first[call]})
	}
	if n, ok := seccomp.Number(arch, call); ok {
		c.byNumber[n] = append(c.byNumber[n], entry{s, 0})
		if by == "" {
			c.highest = max(c.highest, n)
		}
	}
}

func (m model) Looks(c seccomptest.Call) bool {
	name, ok := m.column(c)
	return ok && slices.ContainsFunc(m.columns[name].byNumber[c.Number], func(e entry) bool { return e.through != 0 || len(e.Args) > 0 })
}

func (m model) Answer(c seccomptest.Call) uint32 {
	name, ok := m.column(c)
	if !ok {
		return unix.SECCOMP_RET_KILL_THREAD
	}
	const skipped = 1<<32 - 1 // by a tracer
	noX32 := name == "amd64" && c.Number >= 1<<30
	if h := m.columns[name].highest; m.refuses() && h > 0 && c.Number > h && !(noX32 && c.Number == skipped) {
		return unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	}
	if noX32 && c.Number != skipped && !slices.Contains(m.Architectures, specs.ArchX32) {
		return unix.SECCOMP_RET_KILL_THREAD
	}
	for _, conditional := range []bool{false, true} {
		for _, e := range m.columns[name].byNumber[c.Number] {
			if a := action(e.Action, e.ErrnoRet); a != m.byDefault && e.meets(c, name == "amd64" || name == "arm64", conditional) {
				return a
			}
		}
	}
	return m.byDefault
}

func (m model) refuses() bool {
	switch m.DefaultAction {
	case specs.ActAllow, specs.ActLog, specs.ActTrace:
		return false
	}
	return true
}

// column names the table that a call is of; false if the profile has no such
// architecture.
func (m model) column(c seccomptest.Call) (string, bool) {
	has := func(a specs.Arch) bool { return slices.Contains(m.Architectures, a) }
	switch {
	case c.Arch == unix.AUDIT_ARCH_X86_64 && c.Number&(1<<30) != 0 && m.goarch == "amd64":
		if has(specs.ArchX32) {
			return "x32", true
		}
		return "amd64", c.Number == 1<<32-1
	case c.Arch == unix.AUDIT_ARCH_X86_64:
		return "amd64", m.goarch == "amd64"
	case c.Arch == unix.AUDIT_ARCH_I386:
		return "386", m.goarch == "amd64" && has(specs.ArchX86)
	case c.Arch == unix.AUDIT_ARCH_AARCH64:
		return "arm64", m.goarch == "arm64"
	case c.Arch == unix.AUDIT_ARCH_ARM:
		return "arm", m.goarch == "arm64" && has(specs.ArchARM)
	}
	return "", false
}

// meets says whether a call is one that a rule is for. Those without conditions
// come first, then those with some.
func (e entry) meets(c seccomptest.Call, wide, conditional bool) bool {
	if e.through != 0 {
		return conditional && uint32(c.Args[0]) == e.through && metThrough(e.Args, c)
	}
	return met(e.Args, c, wide, conditional)
}

func metThrough(args []specs.LinuxSeccompArg, c seccomptest.Call) bool {
	if repeated(args) {
		for _, a := range args {
			if a.Index == 0 || holds(a, c, false) {
				return true
			}
		}
		return false
	}
	for _, a := range args {
		if a.Index != 0 && !holds(a, c, false) {
			return false
		}
	}
	return true
}

func met(args []specs.LinuxSeccompArg, c seccomptest.Call, wide, conditional bool) bool {
	always := func(a specs.LinuxSeccompArg) bool {
		return a.Op == specs.OpMaskedEqual && (a.Value == 0 || !wide && uint32(a.Value) == 0)
	}
	if repeated(args) {
		return slices.ContainsFunc(args, func(a specs.LinuxSeccompArg) bool { return always(a) != conditional && holds(a, c, wide) })
	}
	unconditional := true
	for _, a := range args {
		unconditional = unconditional && always(a)
		if !holds(a, c, wide) {
			return false
		}
	}
	return unconditional != conditional
}

func repeated(args []specs.LinuxSeccompArg) bool {
	seen := map[uint]bool{}
	for _, a := range args {
		seen[a.Index] = true
	}
	return len(seen) < len(args)
}

func holds(a specs.LinuxSeccompArg, c seccomptest.Call, wide bool) bool {
	v, want, mask := c.Args[a.Index], a.Value, a.ValueTwo
	if a.Op == specs.OpMaskedEqual {
		mask, want = a.Value, a.ValueTwo
	}
	if !wide {
		v, want, mask = v&(1<<32-1), want&(1<<32-1), mask&(1<<32-1)
	}
	switch a.Op {
	case specs.OpEqualTo:
		return v == want
	case specs.OpNotEqual:
		return v != want
	case specs.OpLessThan:
		return v < want
	case specs.OpLessEqual:
		return v <= want
	case specs.OpGreaterThan:
		return v > want
	case specs.OpGreaterEqual:
		return v >= want
	}
	return v&mask == want&mask
}

func action(a specs.LinuxSeccompAction, errno *uint) uint32 {
	code := uint32(unix.EPERM)
	if errno != nil {
		code = uint32(*errno)
	}
	switch a {
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW
	case specs.ActErrno:
		return unix.SECCOMP_RET_ERRNO | code
	case specs.ActTrace:
		return unix.SECCOMP_RET_TRACE | code
	case specs.ActTrap:
		return unix.SECCOMP_RET_TRAP
	case specs.ActLog:
		return unix.SECCOMP_RET_LOG
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS
	}
	return unix.SECCOMP_RET_KILL_THREAD
}

// first is the argument by which socketcall(2) and ipc(2) make calls: SYS_* of
// linux/net.h, and those of linux/ipc.h.
var first = map[string]uint32{
	"socket": 1, "bind": 2, "connect": 3, "listen": 4, "accept": 5, "getsockname": 6, "getpeername": 7, "socketpair": 8, "send": 9,
	"recv": 10, "sendto": 11, "recvfrom": 12, "shutdown": 13, "setsockopt": 14, "getsockopt": 15, "sendmsg": 16, "recvmsg": 17,
	"accept4": 18, "recvmmsg": 19, "sendmmsg": 20,
	"semop": 1, "semget": 2, "semctl": 3, "semtimedop": 4, "msgsnd": 11, "msgrcv": 12, "msgget": 13, "msgctl": 14, "shmat": 21,
	"shmdt": 22, "shmget": 23, "shmctl": 24,
}

func multiplexer(name string) string {
	switch {
	case first[name] == 0:
		return ""
	case len(name) > 3 && (name[:3] == "sem" || name[:3] == "msg" || name[:3] == "shm"):
		return "ipc"
	}
	return "socketcall"
}
