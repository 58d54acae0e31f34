package seccomp

import (
	"slices"

	"golang.org/x/sys/unix"
)

// step is a place in a program: an instruction, and with it all that can follow.
// Steps are compared: equal ones are placed once.
type step interface {
	// place writes the step. It returns where its first instruction is.
	place(*assembler) position
}

// position is how many instructions of a program are after this one.
type position int

// assembler writes a program from its end: as jumps only go forward, it then knows
// where they lead.
type assembler struct {
	backward []unix.SockFilter // the last instruction first
	placed   map[step]position // the nearest of each
}

// assemble is the program that begins with a step.
func assemble(first step) []unix.SockFilter {
	a := assembler{placed: map[step]position{}}
	a.place(first)
	slices.Reverse(a.backward)
	return a.backward
}

func (a *assembler) put(code uint16, jt, jf uint8, k uint32) position {
	a.backward = append(a.backward, unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k})
	return position(len(a.backward) - 1)
}

// place writes a step if that was not done.
func (a *assembler) place(s step) position {
	at, ok := a.placed[s]
	if !ok {
		at = s.place(a)
		a.placed[s] = at
	}
	return at
}

// skip is how many instructions a jump that comes next passes over to get there.
func (a *assembler) skip(to position) int { return len(a.backward) - 1 - int(to) }

// reach is how far a conditional jump goes: 255, less some instructions that may
// come between before it is written.
const reach = 250

// near has a step placed where a conditional jump reaches it. What is too far is
// written again if it is an answer, else jumped to from here.
func (a *assembler) near(s step) {
	at := a.place(s)
	if a.skip(at) <= reach {
		return
	}
	if _, ok := s.(answer); ok {
		a.placed[s] = s.place(a)
	} else {
		a.placed[s] = a.put(unix.BPF_JMP|unix.BPF_JA, 0, 0, uint32(a.skip(at)))
	}
}

// answer ends the program: SECCOMP_RET_*, with its data.
type answer uint32

func (to answer) place(a *assembler) position {
	return a.put(unix.BPF_RET|unix.BPF_K, 0, 0, uint32(to))
}

// load puts a word of struct seccomp_data into the accumulator.
type load struct {
	offset uint32
	next   step // no other step leads to it, so that it comes right after this one
}

func (l *load) place(a *assembler) position {
	a.place(l.next)
	return a.put(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, l.offset)
}

// look loads a word for a tree, unless the tree needs none: all values lead to one
// step, which loads what it needs.
func look(offset uint32, s step) step {
	if _, ok := s.(*branch); ok {
		return &load{offset, s}
	}
	return s
}

// and clears bits of the accumulator.
type and struct {
	mask uint32
	next step // as load's
}

func (m *and) place(a *assembler) position {
	a.place(m.next)
	return a.put(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 0, 0, m.mask)
}

// What a branch tests of the accumulator.
const (
	equal   = unix.BPF_JEQ
	atLeast = unix.BPF_JGE
)

// branch compares the accumulator with a value.
type branch struct {
	test    uint16
	value   uint32
	yes, no step
}

func (b *branch) place(a *assembler) position {
	a.place(b.yes)
	a.place(b.no)
	a.near(b.yes)
	a.near(b.no)
	yes, no := a.skip(a.placed[b.yes]), a.skip(a.placed[b.no])
	return a.put(unix.BPF_JMP|b.test|unix.BPF_K, uint8(yes), uint8(no), b.value)
}
