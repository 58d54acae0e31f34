package seccomp

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Where the kernel's struct seccomp_data has what a program looks at.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

const (
	// foreign is the answer to calls of architectures that are not in the profile.
	foreign answer = unix.SECCOMP_RET_KILL_THREAD
	// noSuchCall is the answer to calls that are newer than the profile.
	noSuchCall = answer(unix.SECCOMP_RET_ERRNO) | answer(unix.ENOSYS)
)

// maxRules bounds the work for one call: each of so many rules that differ takes
// an instruction at least.
const maxRules = maxInstructions

// dispatch is the whole program: by architecture, then by number.
func (p *profile) dispatch(archs []arch) (step, error) {
	var next step = foreign
	shared := map[string]step{}
	for _, a := range slices.Backward(archs) {
		if a == x32 {
			continue // a part of what the kernel calls x86-64
		}
		numbers, err := p.numbers(a, shared)
		if err != nil {
			return nil, err
		}
		if a == amd64 && slices.Contains(archs, x32) {
			more, err := p.numbers(x32, shared)
			if err != nil {
				return nil, err
			}
			numbers = withX32(numbers, more)
		} else if a == amd64 {
			numbers = p.withoutX32(numbers)
		}
		next = &branch{test: equal, value: a.audit(), yes: look(offsetNumber, tree(numbers)), no: next}
	}
	return &load{offset: offsetArch, next: next}, nil
}

// numbers says for all 32-bit values, from an architecture's first number on, what
// becomes of them as the number of a call.
func (p *profile) numbers(a arch, shared map[string]step) ([]span[uint32], error) {
	spans := []span[uint32]{{a.first(), p.byDefault}}
	newer, known := p.newer(a)
	for rules := p.byNumber(a); len(rules) > 0; {
		n, count := rules[0].number, 1
		for count < len(rules) && rules[count].number == n {
			count++
		}
		if known && n >= newer {
			break
		}
		to, err := p.answerTo(rules[:count], a.wide(), shared)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", rules[0].call.name, err)
		}
		spans = begin(begin(spans, n, to), n+1, p.byDefault)
		rules = rules[count:]
	}
	if known {
		spans = begin(spans, newer, noSuchCall)
	}
	return spans, nil
}

// numbered is a rule with its call's number in an architecture.
type numbered struct {
	number uint32
	rule
}

// byNumber gives the rules of an architecture by number, those of one call in the
// profile's order.
func (p *profile) byNumber(a arch) []numbered {
	rules := make([]numbered, 0, len(p.rules))
	for _, r := range p.rules {
		if by, first := a.multiplexed(r.call); by != nil {
			n, _ := a.number(by)
			rules = append(rules, numbered{n, r.through(first)})
		}
		if n, ok := a.number(r.call); ok {
			rules = append(rules, numbered{n, r})
		}
	}
	slices.SortStableFunc(rules, func(x, y numbered) int { return cmp.Compare(x.number, y.number) })
	return rules
}

// newer gives the first number above those of the calls that the profile names;
// false if such calls get the default answer too. As libcontainer does, it passes
// over calls that i386 can make through another one, and can't tell a profile that
// names call 0 alone from one that names none.
func (p *profile) newer(a arch) (uint32, bool) {
	highest := uint32(0)
	for _, c := range p.named {
		if by, _ := a.multiplexed(c); by != nil {
			continue
		}
		if n, ok := a.number(c); ok {
			highest = max(highest, n)
		}
	}
	return highest + 1, highest != 0 && !p.permissive
}

// Of a number with bit 31, no call has it, libcontainer and libseccomp judge by
// bit 30, as if it were one of amd64 or of x32.
const bit31 = 1 << 31

// withX32 joins what becomes of amd64's numbers and of x32's.
func withX32(numbers, more []span[uint32]) []span[uint32] {
	spans := append(below(numbers, x32Bit), below(more, bit31)...)
	return append(spans, span[uint32]{bit31, last(numbers).to}, span[uint32]{bit31 | x32Bit, last(more).to})
}

// withoutX32 refuses x32's numbers.
func (p *profile) withoutX32(numbers []span[uint32]) []span[uint32] {
	var high step = foreign
	if _, known := p.newer(amd64); known {
		high = noSuchCall
	}
	return append(below(numbers, x32Bit),
		span[uint32]{x32Bit, foreign},
		span[uint32]{bit31, high},
		span[uint32]{bit31 | x32Bit, foreign},
		span[uint32]{^uint32(0), p.byDefault}, // -1: a tracer has the call skipped
	)
}

// below is the spans of numbers that are less than n.
func below(spans []span[uint32], n uint32) []span[uint32] {
	return slices.DeleteFunc(slices.Clone(spans), func(s span[uint32]) bool { return s.from >= n })
}

func last(spans []span[uint32]) span[uint32] { return spans[len(spans)-1] }

// through is a rule for the call that makes this one, whose first argument tells
// which.
func (r rule) through(first uint64) rule {
	conditions := []condition{{arg: 0, op: equalTo, value: first, mask: ^uint64(0)}}
	for _, c := range r.conditions {
		if c.arg != 0 {
			conditions = append(conditions, c)
		}
	}
	return rule{r.call, r.answer, conditions}
}

// answerTo makes one step of the rules for a call. Equal ones are shared, also
// between architectures.
func (p *profile) answerTo(rules []numbered, wide bool, shared map[string]step) (step, error) {
	var conditional []rule
	for _, r := range rules {
		on := r.on(wide)
		if len(on.conditions) == 0 {
			return on.answer, nil
		}
		conditional = append(conditional, on)
	}
	if len(conditional) > maxRules {
		return nil, fmt.Errorf("%d rules: %w", len(conditional), errdefs.ErrNotImplemented)
	}
	if ambiguous(conditional) {
		return nil, fmt.Errorf("its rules give different answers to the same arguments: %w", errdefs.ErrNotImplemented)
	}
	key := ""
	for _, r := range conditional {
		key += fmt.Sprint(r.answer, r.conditions)
	}
	if _, ok := shared[key]; !ok {
		shared[key] = choose(conditional, p.byDefault)
	}
	return shared[key], nil
}

// ambiguous says whether the order of rules would count. It does not as long as
// no arguments are met by two rules with different answers.
func ambiguous(rules []rule) bool {
	for i, r := range rules {
		for _, other := range rules[:i] {
			if r.answer != other.answer && !r.excludes(other) {
				return true
			}
		}
	}
	return false
}

// excludes says that no arguments meet the conditions of both rules.
func (r rule) excludes(other rule) bool {
	for _, c := range r.conditions {
		for _, d := range other.conditions {
			if c.arg == d.arg && c.excludes(d) {
				return true
			}
		}
	}
	return false
}
