package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// Where users and groups have their names.
const (
	passwd = "etc/passwd"
	group  = "etc/group"
)

// maxNames bounds what is read of a container's passwd and group, in bytes.
const maxNames = 4 << 20

// readNames reads a file that a container may have made anything of. numbers are
// the fields that hold one. Lines in which one of them is not a number are left
// out: programs read a number that is too large as a different one, and one that
// can't be read as 0, which is root's. If such a line is name's, that is an
// error. A file that is not there is empty.
func readNames(root *rootfs.Root, file, name string, numbers ...int) ([]byte, error) {
	f, err := openNames(root, file)
	if f == nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxNames+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxNames {
		return nil, fmt.Errorf("/%s has more than %d bytes: %w", file, maxNames, errdefs.ErrInvalidArgument)
	}
	good := text[:0]
	for line := range bytes.Lines(text) {
		if sound(line, numbers) {
			good = append(good, line...)
		} else if of, _, _ := bytes.Cut(bytes.TrimSpace(line), []byte(":")); name != "" && string(of) == name {
			return nil, fmt.Errorf("/%s has no number from 0 to %d where there should be one: %.200q: %w",
				file, maxID, line, errdefs.ErrInvalidArgument)
		}
	}
	return good, nil
}

// openNames opens a passwd or group. If there is none it gives nil.
func openNames(root *rootfs.Root, file string) (*os.File, error) {
	f, err := root.OpenFile(file, os.O_RDONLY, 0)
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case root.Err() != nil:
		return nil, err
	}
	return nil, fmt.Errorf("/%s: %w: %w", file, err, errdefs.ErrInvalidArgument)
}

// maxID is the last uid and gid that a runtime takes. The kernel has more, the
// last of which, -1, means to leave a process the one it has.
const maxID = 1<<31 - 1

// sound tells whether fields of a line hold numbers of users or groups.
func sound(line []byte, numbers []int) bool {
	rest := bytes.TrimSpace(line)
	for i := range slices.Max(numbers) + 1 {
		var field []byte
		field, rest, _ = bytes.Cut(rest, []byte(":"))
		if !slices.Contains(numbers, i) {
			continue
		}
		if n, err := strconv.ParseUint(string(field), 10, 32); err != nil || n > maxID {
			return false
		}
	}
	return true
}

// checkNames refuses an image whose passwd or group is a link into what every
// container has mounted: the kernel's own files, and the container's streams.
// The image alone has nothing there, but a runtime would read it: without end,
// and some runtimes while they still have the right to the kernel's log.
func checkNames(root *rootfs.Root, s *specs.Spec) error {
	for _, name := range []string{passwd, group} {
		at := root.Real(name)
		if at == name {
			continue
		}
		for _, m := range s.Mounts {
			if !slices.Contains(usual, m.Destination) || path.Dir(m.Destination) == "/etc" {
				continue
			}
			if within := root.Real(m.Destination); at == within || strings.HasPrefix(at, within+"/") {
				return fmt.Errorf("/%s leads to /%s, which is in no image but in the %s of each container: %w",
					name, at, m.Destination, errdefs.ErrInvalidArgument)
			}
		}
	}
	return nil
}
