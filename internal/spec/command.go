package spec

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// CheckCommand finds out, before anything runs, that a command can't: it is
// not in the image, or nothing that can be executed. A runtime finds it out as
// well, but each says it in words of its own and some only by an exit code.
// What can't be known from the image alone, because it may be in a mount, is
// left to the runtime.
func CheckCommand(root *rootfs.Root, s *specs.Spec) error {
	if s.Root == nil || s.Root.Path != rootPath || s.Hooks != nil {
		return nil // Config.Spec has changed what there is to look into
	}
	name := s.Process.Args[0]
	at, err := lookPath(root, s, name)
	if err == nil {
		err = executable(root, at, s.Process.Cwd)
	}
	if errors.Is(err, fs.ErrNotExist) && mounted(s, at) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("command %q: %w", name, err)
	}
	return nil
}

// lookPath finds the file that a command means, as exec.LookPath does.
func lookPath(root *rootfs.Root, s *specs.Spec, name string) (string, error) {
	if strings.Contains(name, "/") {
		if !path.IsAbs(name) {
			name = path.Join(s.Process.Cwd, name)
		}
		return name, check(root, name)
	}
	var dirs string
	for _, e := range s.Process.Env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			dirs = v
		}
	}
	var denied error
	for dir := range strings.SplitSeq(dirs, ":") {
		if !path.IsAbs(dir) {
			continue
		}
		at := path.Join(dir, name)
		err := check(root, at)
		if err == nil {
			return at, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", notFound("the image has none on its PATH %s", dirs)
}

// check tells whether a file can be executed as far as its mode says.
func check(root *rootfs.Root, name string) error {
	st, err := root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return notFound("the image has no %s", name)
	case err != nil:
		return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is no file, its mode is %v: %w", name, st.Mode(), errdefs.ErrInvalidArgument)
	case st.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not executable, its mode is %v: %w", name, st.Mode(), errdefs.ErrInvalidArgument)
	}
	return nil
}

// executable tells whether the kernel knows what to do with a file, and what
// the file needs for it is there as well.
func executable(root *rootfs.Root, name, cwd string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	head, err := io.ReadAll(io.NewSectionReader(f, 0, 256)) // the kernel's BINPRM_BUF_SIZE
	if err != nil {
		return err
	}
	var needs string
	switch {
	case bytes.HasPrefix(head, []byte("#!")):
		line, _, _ := bytes.Cut(head[2:], []byte("\n"))
		if words := bytes.Fields(line); len(words) > 0 {
			needs = string(words[0])
		}
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		needs = loader(f)
	case !otherFormats():
		return fmt.Errorf("%s is neither a program nor a script that begins with #!: %w", name, errdefs.ErrInvalidArgument)
	}
	if needs == "" {
		return nil
	}
	if !path.IsAbs(needs) {
		needs = path.Join(cwd, needs)
	}
	if _, err := root.Stat(needs); errors.Is(err, fs.ErrNotExist) {
		return notFound("%s needs %s, which the image does not have", name, needs)
	}
	return nil
}

// loader gives the dynamic loader that an ELF file names, "" if none.
func loader(f *os.File) string {
	e, err := elf.NewFile(f)
	if err != nil {
		return "" // the kernel may know better
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP {
			name, err := bufio.NewReaderSize(io.LimitReader(p.Open(), 4096), 4096).ReadString(0)
			if err == nil {
				return strings.TrimSuffix(name, "\x00")
			}
		}
	}
	return ""
}

// otherFormats tells whether the kernel was taught more formats, binfmt_misc.
func otherFormats() bool {
	dir, err := os.ReadDir("/proc/sys/fs/binfmt_misc")
	return err == nil && len(dir) > 2 // register and status are always there
}

// mounted tells whether name may lie in a mount. Links in the image may lead
// anywhere, so any mount that is not one of every container counts.
func mounted(s *specs.Spec, name string) bool {
	return slices.ContainsFunc(s.Mounts, func(m specs.Mount) bool {
		if !slices.Contains(usual, m.Destination) {
			return true
		}
		return name == m.Destination || strings.HasPrefix(name, m.Destination+"/")
	})
}

var usual = []string{"/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/etc/hosts", "/etc/hostname"}

type missing struct{ text string }

func notFound(format string, args ...any) error { return missing{fmt.Sprintf(format, args...)} }

func (m missing) Error() string { return m.text }

// Unwrap gives the class, and what os/exec has for it.
func (missing) Unwrap() []error {
	return []error{errdefs.ErrNotFound, exec.ErrNotFound, fs.ErrNotExist}
}
