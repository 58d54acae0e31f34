package seccomp

import (
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// profile is a checked profile.
type profile struct {
	byDefault  answer
	permissive bool    // newer calls than those that are named get the default answer
	named      []*call // in rules, also in those that change nothing
	rules      []rule
}

// rule is one answer to one call, for the arguments that meet all conditions.
type rule struct {
	call       *call
	answer     answer
	conditions []condition
}

// parse checks a profile. It splits what the OCI specification lets stand in one
// place, so that each rule has one name and one meaning.
func parse(p *specs.LinuxSeccomp) (*profile, error) {
	def, err := answerOf(p.DefaultAction, p.DefaultErrnoRet)
	if err != nil {
		return nil, fmt.Errorf("default action: %w", err)
	}
	result := &profile{byDefault: def}
	switch p.DefaultAction {
	case specs.ActAllow, specs.ActLog, specs.ActTrace: // a tracer may know calls that the profile does not
		result.permissive = true
	}
	for i, s := range p.Syscalls {
		if err := result.add(s); err != nil {
			return nil, fmt.Errorf("rule %d: %w", i, err)
		}
	}
	return result, nil
}

func (p *profile) add(s specs.LinuxSyscall) error {
	to, err := answerOf(s.Action, s.ErrnoRet)
	if err != nil {
		return err
	}
	alternatives, err := conditionsOf(s.Args)
	if err != nil {
		return err
	}
	for _, name := range s.Names {
		if name == "" {
			return fmt.Errorf("a call without a name: %w", errdefs.ErrInvalidArgument)
		}
		c := lookup(name)
		if c == nil {
			continue // of another architecture, or newer than the table
		}
		p.named = append(p.named, c)
		if to == p.byDefault {
			continue
		}
		for _, conditions := range alternatives {
			p.rules = append(p.rules, rule{c, to, conditions})
		}
	}
	return nil
}

// answerOf is what the kernel is told for an action. errno is nil for EPERM; only
// two actions have one.
func answerOf(action specs.LinuxSeccompAction, errno *uint) (answer, error) {
	data := uint(unix.EPERM)
	if errno != nil {
		data = *errno
	}
	switch action {
	case specs.ActErrno, specs.ActTrace:
		if data > unix.SECCOMP_RET_DATA {
			return 0, fmt.Errorf("errnoRet %d has more than 16 bits: %w", data, errdefs.ErrInvalidArgument)
		}
		if action == specs.ActTrace {
			return answer(unix.SECCOMP_RET_TRACE | uint32(data)), nil
		}
		return answer(unix.SECCOMP_RET_ERRNO | uint32(data)), nil
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, nil
	case specs.ActLog:
		return unix.SECCOMP_RET_LOG, nil
	case specs.ActTrap:
		return unix.SECCOMP_RET_TRAP, nil
	case specs.ActKill, specs.ActKillThread:
		return unix.SECCOMP_RET_KILL_THREAD, nil
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, nil
	case specs.ActNotify:
		return 0, fmt.Errorf("%s asks a supervisor: %w", action, errdefs.ErrNotImplemented)
	}
	return 0, fmt.Errorf("unknown action %q: %w", action, errdefs.ErrInvalidArgument)
}

// conditionsOf gives the sets of conditions of which one must hold as a whole:
// one set, unless two conditions look at the same argument.
func conditionsOf(args []specs.LinuxSeccompArg) (alternatives [][]condition, err error) {
	var all []condition
	var seen [6]bool
	twice := false
	for _, a := range args {
		c, err := conditionOf(a)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
		twice = twice || seen[c.arg]
		seen[c.arg] = true
	}
	if !twice {
		return [][]condition{all}, nil
	}
	for i := range all {
		alternatives = append(alternatives, all[i:i+1])
	}
	return alternatives, nil
}

func conditionOf(a specs.LinuxSeccompArg) (condition, error) {
	c := condition{arg: a.Index, op: a.Op, value: a.Value, mask: ^uint64(0)}
	if a.Index > 5 {
		return c, fmt.Errorf("argument %d: calls have six, from 0 on: %w", a.Index, errdefs.ErrInvalidArgument)
	}
	switch a.Op {
	case specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpGreaterThan, specs.OpGreaterEqual:
	case specs.OpMaskedEqual:
		c.op, c.mask, c.value = specs.OpEqualTo, a.Value, a.ValueTwo&a.Value
	default:
		return c, fmt.Errorf("unknown operator %q: %w", a.Op, errdefs.ErrInvalidArgument)
	}
	return c, nil
}
