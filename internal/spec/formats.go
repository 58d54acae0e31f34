package spec

import (
	"bytes"
	"encoding/hex"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// otherFormat tells whether the kernel was taught the format of a file, by its
// name or how it begins: binfmt_misc. A host with systemd knows some as a rule:
// Python brings one.
func otherFormat(name string, head []byte) bool {
	const dir = "/proc/sys/fs/binfmt_misc"
	formats, _ := os.ReadDir(dir)
	return slices.ContainsFunc(formats, func(f os.DirEntry) bool {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		return err == nil && fits(string(b), name, head)
	})
}

// fits reports whether a file has a format, as the kernel describes it. A text
// that describes no format fits no file.
func fits(format, name string, head []byte) bool {
	said := map[string]string{}
	for line := range strings.Lines(format) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		said[key] = value
	}
	if _, enabled := said["enabled"]; !enabled {
		return false
	}
	if extension := said["extension"]; extension != "" {
		return path.Ext(name) == extension
	}
	magic, err := hex.DecodeString(said["magic"])
	offset, err2 := strconv.Atoi(said["offset"])
	if err != nil || err2 != nil || len(magic) == 0 || offset < 0 || len(head) < offset+len(magic) {
		return false
	}
	found := slices.Clone(head[offset:][:len(magic)])
	if mask, err := hex.DecodeString(said["mask"]); err == nil && len(mask) == len(magic) {
		for i := range mask {
			found[i] &= mask[i]
			magic[i] &= mask[i]
		}
	}
	return bytes.Equal(found, magic)
}
