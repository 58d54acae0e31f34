package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
)

// base is where the program lies in memory. It is a multiple of the largest
// page size that arm64 kernels use, 64 KiB.
const base = 0x400000

// greetingELF makes a program that writes text to its standard output and
// exits with 0. It is a whole Linux executable of some hundred bytes that
// needs nothing else, not even a C library: an image of it runs on any host,
// and the test needs no compiler and no binary in its source to make it.
//
//	offset 0   ELF header        what kind of file this is, and where it begins
//	       64  program header    "map all of this file at base, and run it"
//	       120 machine code      write(1, text, len(text)); exit(0)
//	       …   text
func greetingELF(arch, text string) ([]byte, error) {
	var (
		machine elf.Machine
		code    []byte
	)
	switch arch {
	case "amd64":
		machine, code = elf.EM_X86_64, codeAMD64(len(text))
	case "arm64":
		machine, code = elf.EM_AARCH64, codeARM64(len(text))
	default:
		return nil, fmt.Errorf("there is no machine code for %s here", arch)
	}
	const headers = 64 + 56
	size := uint64(headers + len(code) + len(text))
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{
			0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT),
		},
		Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Entry: base + headers, Phoff: 64,
		Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64,
	}
	program := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
		Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: 0x10000,
	}
	var b bytes.Buffer
	for _, part := range []any{header, program, code, []byte(text)} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// codeAMD64 expects the text right behind itself. A system call's number goes
// in eax, its arguments in rdi, rsi, rdx: write is 1, exit is 60.
func codeAMD64(length int) []byte {
	code := []byte{
		0xb8, 1, 0, 0, 0, // mov eax, 1
		0xbf, 1, 0, 0, 0, // mov edi, 1: standard output
		0x48, 0x8d, 0x35, 16, 0, 0, 0, // lea rsi, [rip+16]: the text, 16 bytes from the next line
		0xba, 0, 0, 0, 0, // mov edx, length
		0x0f, 0x05, // syscall
		0xb8, 60, 0, 0, 0, // mov eax, 60
		0x31, 0xff, // xor edi, edi
		0x0f, 0x05, // syscall
	}
	binary.LittleEndian.PutUint32(code[18:], uint32(length))
	return code
}

// codeARM64 expects the text right behind itself, and not more than 64 KiB of
// it. A system call's number goes in x8, its arguments in x0, x1, x2: write is
// 64, exit is 93.
func codeARM64(length int) []byte {
	var code []byte
	for _, instruction := range []uint32{
		0xd2800020,                     // mov x0, 1: standard output
		0x100000e1,                     // adr x1, 28: the text, 28 bytes from this line
		0xd2800002 | uint32(length)<<5, // mov x2, length
		0xd2800808,                     // mov x8, 64
		0xd4000001,                     // svc 0
		0xd2800000,                     // mov x0, 0
		0xd2800ba8,                     // mov x8, 93
		0xd4000001,                     // svc 0
	} {
		code = binary.LittleEndian.AppendUint32(code, instruction)
	}
	return code
}
