package seccomptest

import (
	"math/rand/v2"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Random makes a profile up, of calls with these names. Few values and calls make
// rules meet.
func Random(r *rand.Rand, goarch string, names []string) *specs.LinuxSeccomp {
	p := random(r, goarch)
	few := make([]string, 1+r.IntN(4))
	for i := range few {
		few[i] = pick(r, names)
	}
	action, code := pick(r, actions), errno(r)
	for range r.IntN(12) {
		s := specs.LinuxSyscall{Action: action, ErrnoRet: code}
		if r.IntN(6) == 0 {
			s.Action, s.ErrnoRet = pick(r, actions), errno(r)
		}
		if r.IntN(4) == 0 { // many, so that the program becomes long
			for range r.IntN(200) {
				s.Names = append(s.Names, pick(r, names))
			}
		} else {
			s.Names = []string{pick(r, few)}
		}
		for len(s.Names) < 5 && len(s.Args) < 3 && r.IntN(3) > 0 {
			s.Args = append(s.Args, argument(r, uint(r.IntN(3)), pick(r, operators)))
		}
		p.Syscalls = append(p.Syscalls, s)
	}
	return p
}

// Plain makes up a profile as people write them: a call has rules without
// conditions; or with one on the same argument each, equal to different values and
// below one; or one rule about several arguments.
//
// Beyond that libseccomp 2.5.4 is no reference. Where rules compare one argument
// by order and in other ways, or several by order, it loses or adds some arguments
// of 64 bits; and a profile of at most 32 calls means nothing in an architecture
// that lacks the first of them.
func Plain(r *rand.Rand, goarch string, names []string) *specs.LinuxSeccomp {
	p := random(r, goarch)
	for _, i := range r.Perm(len(names))[:min(len(names), 1+r.IntN(120))] {
		for _, args := range plainRules(r) {
			p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{names[i]}, Action: pick(r, actions), ErrnoRet: errno(r), Args: args})
			if len(args) > 0 { // such rules of a call share an action
				last := &p.Syscalls[len(p.Syscalls)-1]
				last.Action, last.ErrnoRet = actions[i%len(actions)], nil
			}
		}
	}
	return p
}

func plainRules(r *rand.Rand) [][]specs.LinuxSeccompArg {
	arg := uint(r.IntN(6))
	switch r.IntN(6) {
	case 0:
		var rules [][]specs.LinuxSeccompArg
		for range 1 + r.IntN(20) {
			rules = append(rules, []specs.LinuxSeccompArg{{Index: arg, Op: specs.OpEqualTo, Value: uint64(10 + r.IntN(60))}})
		}
		return append(rules, []specs.LinuxSeccompArg{{Index: arg, Op: specs.OpLessThan, Value: 8}})
	case 1:
		return [][]specs.LinuxSeccompArg{{argument(r, arg, pick(r, operators))}}
	case 2:
		var all []specs.LinuxSeccompArg
		for _, i := range r.Perm(6)[:1+r.IntN(4)] {
			all = append(all, argument(r, uint(i), pick(r, equalities)))
		}
		return [][]specs.LinuxSeccompArg{all}
	}
	return [][]specs.LinuxSeccompArg{nil}
}

// random is a profile without rules.
func random(r *rand.Rand, goarch string) *specs.LinuxSeccomp {
	p := &specs.LinuxSeccomp{DefaultAction: pick(r, actions), DefaultErrnoRet: errno(r)}
	family := []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32}
	if goarch == "arm64" {
		family = []specs.Arch{specs.ArchAARCH64, specs.ArchARM}
	}
	for _, a := range family {
		if r.IntN(3) > 0 {
			p.Architectures = append(p.Architectures, a)
		}
	}
	return p
}

var (
	actions = []specs.LinuxSeccompAction{
		specs.ActAllow, specs.ActAllow, specs.ActErrno, specs.ActErrno, specs.ActErrno, specs.ActKill, specs.ActKillProcess,
		specs.ActKillThread, specs.ActTrap, specs.ActTrace, specs.ActLog,
	}
	equalities = []specs.LinuxSeccompOperator{specs.OpEqualTo, specs.OpEqualTo, specs.OpNotEqual, specs.OpMaskedEqual}
	operators  = append([]specs.LinuxSeccompOperator{
		specs.OpLessThan, specs.OpLessEqual, specs.OpGreaterThan, specs.OpGreaterEqual,
	}, equalities...)
	values = []uint64{0, 1, 2, 3, 4, 5, 8, 0x20000, 0x7e020000, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<32 + 1, 5 << 32, 1<<63 + 3, 1<<64 - 1}
)

func argument(r *rand.Rand, index uint, op specs.LinuxSeccompOperator) specs.LinuxSeccompArg {
	a := specs.LinuxSeccompArg{Index: index, Op: op, Value: pick(r, values)}
	if r.IntN(8) == 0 {
		a.Value = r.Uint64()
	}
	if a.Op == specs.OpMaskedEqual {
		a.ValueTwo = pick(r, values)
	}
	return a
}

func errno(r *rand.Rand) *uint {
	switch r.IntN(4) {
	case 0:
		return new(uint(38))
	case 1:
		return new(uint(r.IntN(4096)))
	}
	return nil
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }
