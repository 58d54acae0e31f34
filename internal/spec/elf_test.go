package spec

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// program makes an ELF file of one class and byte order that names a loader.
func program(class elf.Class, data elf.Data, name string) []byte {
	var order binary.ByteOrder = binary.LittleEndian
	if data == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	ident := [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(class), byte(data), byte(elf.EV_CURRENT)}
	var b bytes.Buffer
	var parts []any
	if class == elf.ELFCLASS64 {
		parts = []any{
			elf.Header64{Ident: ident, Type: uint16(elf.ET_EXEC), Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2, Shentsize: 64},
			elf.Prog64{Type: uint32(elf.PT_LOAD)},
			elf.Prog64{Type: uint32(elf.PT_INTERP), Off: 64 + 2*56, Filesz: uint64(len(name) + 1)},
		}
	} else {
		parts = []any{
			elf.Header32{Ident: ident, Type: uint16(elf.ET_EXEC), Version: 1, Phoff: 52, Ehsize: 52, Phentsize: 32, Phnum: 2, Shentsize: 40},
			elf.Prog32{Type: uint32(elf.PT_LOAD)},
			elf.Prog32{Type: uint32(elf.PT_INTERP), Off: 52 + 2*32, Filesz: uint32(len(name) + 1)},
		}
	}
	for _, p := range parts {
		if err := binary.Write(&b, order, p); err != nil {
			panic(err)
		}
	}
	b.WriteString(name + "\x00")
	return b.Bytes()
}

var kinds = []struct {
	class elf.Class
	data  elf.Data
}{{elf.ELFCLASS64, elf.ELFDATA2LSB}, {elf.ELFCLASS64, elf.ELFDATA2MSB}, {elf.ELFCLASS32, elf.ELFDATA2LSB}, {elf.ELFCLASS32, elf.ELFDATA2MSB}}

// The loader is the one that package elf finds, of programs of every class.
func TestLoader(t *testing.T) {
	for _, k := range kinds {
		for _, name := range []string{"/lib/ld.so", strings.Repeat("x", maxLoader-1), "", strings.Repeat("x", maxLoader)} {
			want := name
			if len(name) >= maxLoader {
				want = "" // the kernel takes no such name
			}
			require.Equal(t, want, loader(bytes.NewReader(program(k.class, k.data, name))), k)
		}
	}
	found := 0
	all, err := filepath.Glob("/bin/*")
	require.NoError(t, err)
	for _, name := range all[:min(len(all), 100)] {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		if want := oracle(f); want != "" {
			found++
			require.Equal(t, want, loader(f), name)
		}
		f.Close()
	}
	t.Log(found, "programs of this host")
}

// oracle is package elf's answer. It reads all that a file says there is.
func oracle(f io.ReaderAt) string {
	e, err := elf.NewFile(f)
	if err != nil {
		return ""
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP {
			b, err := io.ReadAll(io.LimitReader(p.Open(), maxLoader))
			if name, _, ok := strings.Cut(string(b), "\x00"); err == nil && ok {
				return name
			}
		}
	}
	return ""
}

// counter counts what is read of a file that has any byte anywhere.
type counter struct {
	head []byte
	read int
}

func (c *counter) ReadAt(b []byte, at int64) (int, error) {
	c.read += len(b)
	clear(b)
	if at < int64(len(c.head)) {
		copy(b, c.head[at:])
	}
	return len(b), nil
}

// However much a file says there is to read, no more is read than the kernel
// would, and what is said of its loader is of the file.
func FuzzLoader(f *testing.F) {
	for _, k := range kinds {
		f.Add(program(k.class, k.data, "/lib/ld.so"))
	}
	bomb := program(elf.ELFCLASS64, elf.ELFDATA2LSB, "/x") // sections without end
	binary.LittleEndian.PutUint64(bomb[40:], 64)
	binary.LittleEndian.PutUint32(bomb[64+32:], 1<<31)
	f.Add(bomb)
	f.Add(append(program(elf.ELFCLASS32, elf.ELFDATA2LSB, "/x")[:44], 0xff, 0xff))
	f.Fuzz(func(t *testing.T, b []byte) {
		endless := &counter{head: b}
		_ = loader(endless)
		if endless.read > 64+maxHeaders+maxLoader {
			t.Fatalf("%d bytes are read", endless.read)
		}
		if name := loader(bytes.NewReader(b)); !bytes.Contains(b, []byte(name+"\x00")) && name != "" {
			t.Fatalf("%q is not in the file", name)
		}
	})
}
