// Package seccomp compiles the seccomp profile of an OCI configuration into the
// program that the kernel runs at each system call of a container. It is pure Go
// and asks neither libseccomp nor the host.
//
// A program answers each call as that of libcontainer and libseccomp for the same
// profile; the tests of the libcontainer shim compare the two. It has less than a
// fifth of the instructions, which the kernel works through at each start.
//
// # What a profile means
//
// The OCI specification leaves much open. This is what libcontainer does:
//
//   - The host's own architecture is always in the profile. A call of one that is
//     not kills the thread.
//   - Names that an architecture lacks are ignored there.
//   - Of one call's rules, one without conditions wins over those with some, and
//     the first such over later ones. Rules with the default action count for
//     nothing.
//   - A rule's conditions must all hold. If two of them look at the same argument,
//     it is enough that one holds.
//   - 32-bit architectures, x32 too, compare the low halves of arguments alone.
//   - Where the default action refuses, calls above the highest that the profile
//     names get ENOSYS instead: the profile can't have meant them, and C libraries
//     then try older ones.
//   - On i386, a rule for one of the calls that socketcall(2) and ipc(2) can make
//     holds for these as well, but for conditions on the first argument.
//
// Names and numbers are those of Linux as golang.org/x/sys knows them: newer than
// those of most libseccomp libraries, so that more of a profile is in force.
//
// Where libseccomp 2.5.4 errs, this does not follow: seccomptest.Plain says when.
// Rules that give different answers to the same arguments are an error here; their
// order in libseccomp is by its tree, not by the profile.
package seccomp

import (
	"fmt"
	"runtime"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Program is a compiled profile, as seccomp(2) takes it.
type Program struct {
	Instructions []unix.SockFilter // never empty
	Flags        uint              // SECCOMP_FILTER_FLAG_*; 0 is none
}

// maxInstructions is the kernel's BPF_MAXINSNS.
const maxInstructions = 4096

// Compile compiles a profile for this machine. The program is nil where there is
// no profile, or an empty one.
//
// errdefs.ErrInvalidArgument is of a profile that is wrong; errdefs.ErrNotImplemented
// of one that libcontainer may be able to load: with a supervisor (SCMP_ACT_NOTIFY),
// with rules of which the order would count, too long, or on another kind of
// machine than amd64 and arm64.
func Compile(p *specs.LinuxSeccomp) (*Program, error) {
	return CompileFor(runtime.GOARCH, p)
}

// CompileFor is Compile for a machine of another kind, named as GOARCH is.
func CompileFor(goarch string, p *specs.LinuxSeccomp) (*Program, error) {
	if p == nil || p.DefaultAction == "" && len(p.Syscalls) == 0 {
		return nil, nil
	}
	program, err := compile(goarch, p)
	if err != nil {
		return nil, fmt.Errorf("compile seccomp profile: %w", err)
	}
	return program, nil
}

func compile(goarch string, p *specs.LinuxSeccomp) (*Program, error) {
	archs, err := archsOf(goarch, p.Architectures)
	if err != nil {
		return nil, err
	}
	flags, err := flagsOf(p.Flags)
	if err != nil {
		return nil, err
	}
	profile, err := parse(p)
	if err != nil {
		return nil, err
	}
	first, err := profile.dispatch(archs)
	if err != nil {
		return nil, err
	}
	code := assemble(first)
	if len(code) > maxInstructions {
		return nil, fmt.Errorf("it takes %d instructions, the kernel %d: %w", len(code), maxInstructions, errdefs.ErrNotImplemented)
	}
	return &Program{Instructions: code, Flags: flags}, nil
}

// flagsOf gives flags their numbers. libcontainer adds SPEC_ALLOW to a profile
// that says nothing, for the mitigation of Speculative Store Bypass costs all
// programs a lot, and containers are no safer with it than other processes.
func flagsOf(names []specs.LinuxSeccompFlag) (flags uint, err error) {
	if names == nil {
		return unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, nil
	}
	for _, name := range names {
		switch name {
		case "SECCOMP_FILTER_FLAG_TSYNC":
			// The process that loads a filter has one thread.
		case specs.LinuxSeccompFlagLog:
			flags |= unix.SECCOMP_FILTER_FLAG_LOG
		case specs.LinuxSeccompFlagSpecAllow:
			flags |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		case specs.LinuxSeccompFlagWaitKillableRecv:
			return 0, fmt.Errorf("flag %s is about a supervisor: %w", name, errdefs.ErrNotImplemented)
		default:
			return 0, fmt.Errorf("unknown flag %q: %w", name, errdefs.ErrInvalidArgument)
		}
	}
	return flags, nil
}
