package spec

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
)

const elfMagic = "\x7fELF"

// elfClass says where the headers of an ELF file have their fields, which differs
// between 32 and 64 bits, elf(5).
type elfClass struct {
	wide             bool // addresses have 8 bytes
	phoff, phentsize int  // in the file's header
	size             int  // of a program header
	offset, filesz   int  // in a program header
}

var elfClasses = map[byte]elfClass{
	1: {false, 28, 42, 32, 4, 16},
	2: {true, 32, 54, 56, 8, 32},
}

// What the kernel reads of a program at most, fs/binfmt_elf.c.
const (
	maxHeaders = 64 << 10 // bytes of program headers
	maxLoader  = 4096     // PATH_MAX, with the zero byte
)

// ptInterp is the type of the program header that says where the loader's name
// is.
const ptInterp = 3

// loader gives the dynamic loader that an ELF file names, "" if none. The file
// may say anything, so no more of it is read than the kernel would, which looks
// at its program headers alone.
func loader(f io.ReaderAt) string {
	head := make([]byte, 64)
	if n, _ := f.ReadAt(head, 0); n < 52 || string(head[:4]) != elfMagic {
		return "" // here and below, the kernel may know better
	}
	c, ok := elfClasses[head[4]]
	if !ok {
		return ""
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[5] == 2 {
		order = binary.BigEndian
	}
	count := int(order.Uint16(head[c.phentsize+2:]))
	if int(order.Uint16(head[c.phentsize:])) != c.size || count*c.size > maxHeaders {
		return ""
	}
	headers := make([]byte, count*c.size)
	if !readAt(f, headers, c.address(order, head[c.phoff:])) {
		return ""
	}
	for h := range slices.Chunk(headers, c.size) {
		if order.Uint32(h) != ptInterp {
			continue
		}
		size := c.address(order, h[c.filesz:])
		if size < 2 || size > maxLoader {
			return ""
		}
		name := make([]byte, size)
		if !readAt(f, name, c.address(order, h[c.offset:])) || name[size-1] != 0 {
			return ""
		}
		name, _, _ = bytes.Cut(name, []byte{0})
		return string(name)
	}
	return ""
}

// address reads an address or a size.
func (c elfClass) address(order binary.ByteOrder, b []byte) uint64 {
	if c.wide {
		return order.Uint64(b)
	}
	return uint64(order.Uint32(b))
}

// readAt fills b, if the file has so much there.
func readAt(f io.ReaderAt, b []byte, at uint64) bool {
	if at > 1<<62 {
		return false
	}
	n, _ := f.ReadAt(b, int64(at))
	return n == len(b)
}
