package seccomp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

//go:generate go run generate.go

// arch is a way of making system calls: a column of the table of calls.
type arch int

const (
	amd64 arch = iota
	x32
	i386
	arm64
	arm
	archCount
)

// absent is the number of a call that an architecture lacks.
const absent = -1

// x32Bit is set in the number of a call that an x32 program makes. The kernel
// calls its architecture x86-64.
const x32Bit = 1 << 30

// wide says whether arguments have 64 bits.
func (a arch) wide() bool { return a == amd64 || a == arm64 }

// first is the lowest number that a call can have.
func (a arch) first() uint32 {
	if a == x32 {
		return x32Bit
	}
	return 0
}

// audit is what the kernel calls an architecture.
func (a arch) audit() uint32 {
	switch a {
	case i386:
		return unix.AUDIT_ARCH_I386
	case arm64:
		return unix.AUDIT_ARCH_AARCH64
	case arm:
		return unix.AUDIT_ARCH_ARM
	}
	return unix.AUDIT_ARCH_X86_64
}

// archsOf gives the architectures of a profile that a machine has, its own first,
// which always is in the profile. Those of other machines can't make calls here.
func archsOf(goarch string, names []specs.Arch) ([]arch, error) {
	type named struct {
		name specs.Arch
		arch arch
	}
	var family []named
	switch goarch {
	case "amd64":
		family = []named{{specs.ArchX86_64, amd64}, {specs.ArchX32, x32}, {specs.ArchX86, i386}}
	case "arm64":
		family = []named{{specs.ArchAARCH64, arm64}, {specs.ArchARM, arm}}
	default:
		return nil, fmt.Errorf("no tables of %s: %w", goarch, errdefs.ErrNotImplemented)
	}
	for _, name := range names {
		if err := known(name); err != nil {
			return nil, err
		}
	}
	var archs []arch
	for i, n := range family {
		if i == 0 || slices.Contains(names, n.name) {
			archs = append(archs, n.arch)
		}
	}
	return archs, nil
}

// known refuses a name that is none, and those with which no program could be
// loaded: libseccomp refuses to mix orders of bytes.
func known(name specs.Arch) error {
	switch name {
	case specs.ArchX86, specs.ArchX86_64, specs.ArchX32, specs.ArchARM, specs.ArchAARCH64,
		specs.ArchMIPSEL, specs.ArchMIPSEL64, specs.ArchMIPSEL64N32, specs.ArchPPC64LE, specs.ArchRISCV64, specs.ArchLOONGARCH64:
		return nil
	case specs.ArchMIPS, specs.ArchMIPS64, specs.ArchMIPS64N32, specs.ArchPPC, specs.ArchPPC64, specs.ArchS390, specs.ArchS390X:
		return fmt.Errorf("architecture %s is big-endian, this machine is not: %w", name, errdefs.ErrInvalidArgument)
	}
	return fmt.Errorf("unknown architecture %q: %w", name, errdefs.ErrInvalidArgument)
}

// lookup finds a call by its name; nil if no architecture has it.
func lookup(name string) *call {
	i, ok := slices.BinarySearchFunc(calls[:], name, func(c call, name string) int { return strings.Compare(c.name, name) })
	if !ok {
		return nil
	}
	return &calls[i]
}

// number gives a call's number; false if the architecture lacks it.
func (a arch) number(c *call) (uint32, bool) {
	if c == nil || c.numbers[a] == absent {
		return 0, false
	}
	return a.first() + uint32(c.numbers[a]), true
}

// The calls that i386's socketcall(2) and ipc(2) make, by their first argument.
var (
	socketcalls = [...]string{
		1: "socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair",
		"send", "recv", "sendto", "recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg",
		"accept4", "recvmmsg", "sendmmsg",
	}
	ipcs = [...]string{
		1: "semop", "semget", "semctl", "semtimedop",
		11: "msgsnd", "msgrcv", "msgget", "msgctl",
		21: "shmat", "shmdt", "shmget", "shmctl",
	}
)

// multiplexed gives the call by which i386 makes another one, and its first
// argument then; nil if there is none.
func (a arch) multiplexed(c *call) (by *call, first uint64) {
	if a != i386 {
		return nil, 0
	}
	if i := slices.Index(socketcalls[:], c.name); i > 0 {
		return lookup("socketcall"), uint64(i)
	}
	if i := slices.Index(ipcs[:], c.name); i > 0 {
		return lookup("ipc"), uint64(i)
	}
	return nil, 0
}
