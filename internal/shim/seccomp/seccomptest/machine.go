// Package seccomptest helps to show what compiled seccomp profiles do: it runs
// them without a kernel, checks them as a kernel does, makes profiles up, and
// lists the calls that could tell two programs apart.
package seccomptest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Call is what the kernel tells a program of a system call.
type Call struct {
	Arch   uint32 // AUDIT_ARCH_*
	Number uint32
	Args   [6]uint64
}

// Machine runs a program.
type Machine struct {
	vm   *bpf.VM
	look *bpf.VM // answers looked where the program would look at an argument
}

// looked is no answer that a program of ours has: it would be an action of the
// kernel's that does not exist.
const looked = 0x12340000

// NewMachine takes a program that passes Check.
func NewMachine(program []unix.SockFilter) (*Machine, error) {
	if err := Check(program); err != nil {
		return nil, err
	}
	blind := slices.Clone(program)
	for i, in := range blind {
		if in.Code == unix.BPF_LD|unix.BPF_W|unix.BPF_ABS && in.K >= 16 {
			blind[i] = unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: looked}
		}
	}
	vm, err := newVM(program)
	if err != nil {
		return nil, err
	}
	look, err := newVM(blind)
	return &Machine{vm, look}, err
}

func newVM(program []unix.SockFilter) (*bpf.VM, error) {
	var raw []bpf.RawInstruction
	for _, i := range program {
		raw = append(raw, bpf.RawInstruction{Op: i.Code, Jt: i.Jt, Jf: i.Jf, K: i.K})
	}
	instructions, known := bpf.Disassemble(raw)
	if !known {
		return nil, errors.New("an unknown instruction")
	}
	return bpf.NewVM(instructions)
}

// Answer is what the program says to a call.
func (m *Machine) Answer(c Call) uint32 { return run(m.vm, c) }

// Looks says whether the answer could be another one with other arguments.
func (m *Machine) Looks(c Call) bool { return run(m.look, c) == looked }

func run(vm *bpf.VM, c Call) uint32 {
	// The virtual machine reads words as packets have them, big-endian; each of a
	// seccomp program's loads is of one whole word, which the order doesn't change.
	var data [64]byte
	word := func(offset int, v uint32) { binary.BigEndian.PutUint32(data[offset:], v) }
	word(0, c.Number)
	word(4, c.Arch)
	for i, a := range c.Args {
		word(16+8*i, uint32(a))
		word(20+8*i, uint32(a>>32))
	}
	answer, err := vm.Run(data[:])
	if err != nil {
		panic(fmt.Sprintf("run a program that was checked: %v", err))
	}
	return uint32(answer)
}

// Check applies the kernel's rules to a program (bpf_check_classic and
// seccomp_check_filter), as far as libseccomp's and ours have such instructions.
func Check(program []unix.SockFilter) error {
	if len(program) == 0 || len(program) > 4096 {
		return fmt.Errorf("%d instructions", len(program))
	}
	for at, i := range program {
		left := len(program) - at - 1 // instructions after this one
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			if i.K%4 != 0 || i.K >= 64 {
				return fmt.Errorf("instruction %d loads from %d", at, i.K)
			}
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
		case unix.BPF_RET | unix.BPF_K:
			continue
		case unix.BPF_JMP | unix.BPF_JA:
			if uint64(i.K) >= uint64(left) {
				return fmt.Errorf("instruction %d jumps %d of %d", at, i.K, left)
			}
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K,
			unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			if int(max(i.Jt, i.Jf)) >= left {
				return fmt.Errorf("instruction %d jumps %d or %d of %d", at, i.Jt, i.Jf, left)
			}
		default:
			return fmt.Errorf("instruction %d has the unknown code %#x", at, i.Code)
		}
		if left == 0 {
			return errors.New("the last instruction is no return")
		}
	}
	return nil
}
