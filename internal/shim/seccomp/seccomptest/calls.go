package seccomptest

import (
	"iter"
	"math/rand/v2"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Archs are the architectures of a machine, named as GOARCH is, as the kernel
// calls them.
func Archs(goarch string) []uint32 {
	if goarch == "arm64" {
		return []uint32{unix.AUDIT_ARCH_AARCH64, unix.AUDIT_ARCH_ARM}
	}
	return []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386}
}

// A Judge answers calls, as a program does.
type Judge interface {
	Answer(Call) uint32
	Looks(Call) bool // at arguments
}

// Compare finds a call that two judges of a profile answer differently, and says
// how many it has tried. The calls have each number of each architecture and many
// that are none. Where a judge looks at arguments, one at a time gets the values
// that the profile names for it, values beside them, and some with more bits; then
// all get such values. Of all these calls it tries each so many-th: 1 is all.
func Compare(p *specs.LinuxSeccomp, archs []uint32, every int, one, other Judge) (differs *Call, tried int) {
	i := 0
	for c := range calls(p, archs, func(c Call) bool { return one.Looks(c) || other.Looks(c) }) {
		if i++; i%every != 0 {
			continue
		}
		tried++
		if one.Answer(c) != other.Answer(c) {
			return &c, tried
		}
	}
	return nil, tried
}

func calls(p *specs.LinuxSeccomp, archs []uint32, looks func(Call) bool) iter.Seq[Call] {
	values := argumentValues(p)
	return func(yield func(Call) bool) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, arch := range append(slices.Clone(archs), 0, 0x12345678, unix.AUDIT_ARCH_S390X) {
			for _, n := range numbers() {
				plain := Call{Arch: arch, Number: n}
				if !yield(plain) || looks(plain) && !withArguments(plain, values, r, yield) {
					return
				}
			}
		}
	}
}

// withArguments yields a call with arguments, until that is false.
func withArguments(plain Call, values [6][]uint64, r *rand.Rand, yield func(Call) bool) bool {
	for arg := range values {
		for _, v := range values[arg] {
			c := plain
			c.Args[arg] = v
			if !yield(c) {
				return false
			}
		}
	}
	for range 300 {
		c := plain
		for arg, v := range values {
			c.Args[arg] = v[r.IntN(len(v))]
		}
		if !yield(c) {
			return false
		}
	}
	return true
}

// numbers are all that an architecture has, and ones that none has.
func numbers() (ns []uint32) {
	for _, base := range []uint32{0, 1 << 30, 1 << 31, 3 << 30} {
		for n := uint32(0); n < 1024; n++ {
			ns = append(ns, base+n)
			if n >= 550 {
				n += 7
			}
		}
		ns = append(ns, base-1, base-2, base-100, base-550)
	}
	for n := uint32(0xf0000); n < 0xf0010; n++ { // arm's own
		ns = append(ns, n)
	}
	return ns
}

// argumentValues are those worth trying, by argument.
func argumentValues(p *specs.LinuxSeccomp) (values [6][]uint64) {
	for _, s := range p.Syscalls {
		for _, a := range s.Args {
			if a.Index > 5 {
				continue
			}
			for _, v := range []uint64{a.Value, a.ValueTwo, a.Value | a.ValueTwo, a.Value ^ a.ValueTwo, a.Value & a.ValueTwo} {
				for _, near := range []uint64{v, v + 1, v - 1, ^v} {
					values[a.Index] = append(values[a.Index], near, near+1<<32, near-1<<32, near|1<<63, near&(1<<32-1), near<<32)
				}
			}
			if a.Op == specs.OpMaskedEqual {
				for bit := range 64 {
					values[a.Index] = append(values[a.Index], a.ValueTwo^1<<bit)
				}
			}
		}
	}
	for i := range values {
		slices.Sort(values[i])
		values[i] = append(slices.Compact(values[i]), 0, 1, 1<<32, ^uint64(0))
	}
	for v := range uint64(30) { // of socketcall(2) and ipc(2)
		values[0] = append(values[0], v)
	}
	return values
}
