package seccomp

import (
	"cmp"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

const equalTo = specs.OpEqualTo

// condition compares an argument, under a mask, with a value.
type condition struct {
	arg   uint
	op    specs.LinuxSeccompOperator // not OpMaskedEqual; with a mask, OpEqualTo
	value uint64
	mask  uint64
	wide  bool // arguments have 64 bits, not 32
}

// interval is the values from lo to hi, both among them.
type interval struct{ lo, hi uint64 }

// top is the highest value of an argument.
func top(wide bool) uint64 {
	if wide {
		return ^uint64(0)
	}
	return 1<<32 - 1
}

// on is a rule for arguments of a width, less the conditions that always hold.
func (r rule) on(wide bool) rule {
	var conditions []condition
	for _, c := range r.conditions {
		c.wide = wide
		c.mask &= top(wide)
		c.value &= c.mask
		if c.mask != 0 {
			conditions = append(conditions, c)
		}
	}
	r.conditions = conditions
	return r
}

// masked says that some bits are not compared, so that no intervals meet it.
func (c condition) masked() bool { return c.mask != top(c.wide) }

// intervals are those of the values that meet a condition which is not masked.
func (c condition) intervals() []interval {
	last := c.mask
	var below, above []interval
	if c.value > 0 {
		below = []interval{{0, c.value - 1}}
	}
	if c.value < last {
		above = []interval{{c.value + 1, last}}
	}
	switch c.op {
	case specs.OpLessThan:
		return below
	case specs.OpGreaterThan:
		return above
	case specs.OpNotEqual:
		return append(below, above...)
	case specs.OpLessEqual:
		return []interval{{0, c.value}}
	case specs.OpGreaterEqual:
		return []interval{{c.value, last}}
	}
	return []interval{{c.value, c.value}}
}

// excludes says that no value meets both conditions. It may miss that where one
// is masked.
func (c condition) excludes(d condition) bool {
	if c.masked() || d.masked() {
		return c.op == equalTo && d.op == equalTo && (c.value^d.value)&c.mask&d.mask != 0
	}
	for _, i := range c.intervals() {
		for _, j := range d.intervals() {
			if i.lo <= j.hi && j.lo <= i.hi {
				return false
			}
		}
	}
	return true
}

// stretch is an interval of an argument's values, and what they lead to.
type stretch struct {
	interval
	to step
}

// choose finds the rule that is met, in no order: see ambiguous. Rules that ask
// for intervals of one argument become one search for each argument; the others
// are tried one by one.
func choose(rules []rule, otherwise step) step {
	var searches [6][]stretch
	for _, r := range rules {
		if c := r.conditions[0]; len(r.conditions) == 1 && !c.masked() {
			for _, i := range c.intervals() {
				searches[c.arg] = append(searches[c.arg], stretch{i, r.answer})
			}
			continue
		}
		met := step(r.answer)
		for _, c := range slices.Backward(r.conditions) {
			met = c.check(met, otherwise)
		}
		otherwise = met
	}
	for arg, stretches := range searches {
		otherwise = search(uint(arg), rules[0].conditions[0].wide, stretches, otherwise)
	}
	return otherwise
}

// check leads to yes or no.
func (c condition) check(yes, no step) step {
	if c.masked() {
		return c.compare(yes, no)
	}
	var stretches []stretch
	for _, i := range c.intervals() {
		stretches = append(stretches, stretch{i, yes})
	}
	return search(c.arg, c.wide, stretches, no)
}

// compare does so under a mask, a half at a time.
func (c condition) compare(yes, no step) step {
	met := yes
	for _, half := range []uint{high, low} {
		mask, value := uint32(c.mask>>half), uint32(c.value>>half)
		if mask == 0 {
			continue
		}
		met = &branch{test: equal, value: value, yes: met, no: no}
		if mask != ^uint32(0) {
			met = &and{mask: mask, next: met}
		}
		met = &load{offset: offset(c.arg, half), next: met}
	}
	return met
}

// The halves of an argument, by the bits that are beneath them.
const (
	low  = 0
	high = 32
)

// offset is where a half of an argument is. All machines that this package
// compiles for are little-endian.
func offset(arg, half uint) uint32 { return uint32(offsetArgs + 8*arg + half/8) }

// search leads from an argument's value to the step of its stretch. Stretches that
// overlap have the same step.
func search(arg uint, wide bool, stretches []stretch, otherwise step) step {
	if len(stretches) == 0 {
		return otherwise
	}
	slices.SortFunc(stretches, func(a, b stretch) int { return cmp.Compare(a.lo, b.lo) })
	spans := []span[uint64]{{0, otherwise}}
	next := uint64(0) // the first value after the stretches so far
	for _, s := range stretches {
		if s.hi < next {
			continue
		}
		if s.lo > next {
			spans = begin(spans, next, otherwise)
		}
		spans = begin(spans, max(next, s.lo), s.to)
		if s.hi == top(wide) {
			return halves(arg, wide, spans)
		}
		next = s.hi + 1
	}
	return halves(arg, wide, begin(spans, next, otherwise))
}

// halves looks at the halves of an argument, as a program can't at all of it.
func halves(arg uint, wide bool, spans []span[uint64]) step {
	var highs []span[uint32]
	to := spans[0].to // where the lowest value of the next high half leads
	for len(spans) > 0 {
		half := uint32(spans[0].from >> high)
		lows := []span[uint32]{{0, to}}
		for len(spans) > 0 && uint32(spans[0].from>>high) == half {
			lows = begin(lows, uint32(spans[0].from), spans[0].to)
			spans = spans[1:]
		}
		to = lows[len(lows)-1].to
		highs = begin(highs, half, look(offset(arg, low), tree(lows)))
		if half < 1<<32-1 {
			highs = begin(highs, half+1, to)
		}
	}
	if !wide {
		return highs[0].to
	}
	return look(offset(arg, high), tree(highs))
}
