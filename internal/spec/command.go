package spec

import (
	"bytes"
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
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// CheckCommand finds out, before anything runs, that a command can't: it is
// not in the image, or nothing that can be executed. A runtime finds it out as
// well, but each says it in words of its own and some only by an exit code.
// What can't be known from the image alone, because it may be in a mount, is
// left to the runtime.
func CheckCommand(root *rootfs.Root, s *specs.Spec) error {
	if !looksInto(s) {
		return nil
	}
	if err := checkNames(root, s); err != nil {
		return err
	}
	p := Place{Root: root, Noun: "image", mounts: s.Mounts}
	_, err := p.find(s.Process, s.Process.Args[0])
	return err
}

// looksInto tells whether the root file system is what the image says:
// Config.Spec may have changed what there is to look into.
func looksInto(s *specs.Spec) bool { return s.Root != nil && s.Root.Path == rootPath && s.Hooks == nil }

// Place is where a command is looked up.
type Place struct {
	Root   *rootfs.Root
	Noun   string        // what it is, for errors: "image" or "container"
	mounts []specs.Mount // that Root does not show
}

// find gives the file that a command means for a process, and makes sure that
// the kernel can execute it.
func (l Place) find(p *specs.Process, name string) (string, error) {
	at, err := l.lookPath(p, name)
	if err == nil {
		err = l.executable(at, p.Cwd)
	}
	if err != nil && l.Root.Err() == nil && l.mounted(at) {
		return at, nil
	}
	if err != nil {
		return "", fmt.Errorf("command %q: %w", name, err)
	}
	return at, nil
}

// lookPath finds the file that a command means, as exec.LookPath does.
func (l Place) lookPath(p *specs.Process, name string) (string, error) {
	if strings.Contains(name, "/") {
		if !path.IsAbs(name) {
			name = path.Join(p.Cwd, name)
		}
		return name, l.check(name)
	}
	dirs, _ := lookupEnv(p.Env, "PATH")
	var denied error
	for dir := range strings.SplitSeq(dirs, ":") {
		if err := l.Root.Err(); err != nil {
			return "", err // a PATH may have thousands of directories
		}
		if !path.IsAbs(dir) {
			continue
		}
		at := path.Join(dir, name)
		err := l.check(at)
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
	return "", notFound("the %s has none on its PATH %s", l.Noun, dirs)
}

// check tells whether a file can be executed as far as its mode says.
func (l Place) check(name string) error {
	st, err := l.Root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return notFound("the %s has no %s", l.Noun, name)
	case err != nil && l.Root.Err() != nil:
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is no file, its mode is %v: %w", name, st.Mode(), errNotExecutable)
	case st.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not executable, its mode is %v: %w", name, st.Mode(), errNotExecutable)
	}
	return nil
}

// errNotExecutable has the class, and what os/exec has for it.
var errNotExecutable = fmt.Errorf("%w: %w", fs.ErrPermission, errdefs.ErrInvalidArgument)

// scripts is how many scripts may interpret each other: exec_binprm of the
// kernel's fs/exec.c.
const scripts = 5

// executable tells whether the kernel knows what to do with a file, and what
// the file needs for it can be executed as well.
func (l Place) executable(name, cwd string) error {
	for range scripts + 1 {
		needs, script, err := l.needs(name)
		if err != nil || needs == "" {
			return err
		}
		at := needs
		if !path.IsAbs(at) {
			at = path.Join(cwd, at)
		}
		err = l.check(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(needs, "\r"):
			return notFound("%s needs %q, since its first line ends with a carriage return, as on Windows", name, needs)
		case errors.Is(err, fs.ErrNotExist):
			return notFound("%s needs %s, which the %s does not have", name, needs, l.Noun)
		case err != nil:
			return fmt.Errorf("%s needs what can't be executed: %w", name, err)
		case !script:
			return nil
		}
		name = at
	}
	return fmt.Errorf("%s is the last of more scripts than may interpret each other: %w: %w", name, unix.ELOOP, errdefs.ErrInvalidArgument)
}

// needs gives the file by which the kernel executes another: a script's
// interpreter, or a program's loader; "" if it needs none.
func (l Place) needs(name string) (needs string, script bool, err error) {
	f, err := l.Root.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	head, err := io.ReadAll(io.NewSectionReader(f, 0, 256)) // the kernel's BINPRM_BUF_SIZE
	if err != nil {
		return "", false, err
	}
	switch {
	case bytes.HasPrefix(head, []byte("#!")):
		if needs = interpreter(head); needs == "" {
			return "", false, fmt.Errorf("%s names no interpreter after #!, or one too long: %w: %w", name, unix.ENOEXEC, errdefs.ErrInvalidArgument)
		}
		return needs, true, nil
	case bytes.HasPrefix(head, []byte(elfMagic)):
		return loader(f), false, nil
	case !otherFormat(name, head):
		return "", false, fmt.Errorf("%s is neither a program nor a script that begins with #!: %w: %w", name, unix.ENOEXEC, errdefs.ErrInvalidArgument)
	}
	return "", false, nil
}

// interpreter reads a script's, as load_script of the kernel's
// fs/binfmt_script.c does: its name ends at a blank, a tab, a zero byte or the
// end of the line, and at no other space. "" is none.
func interpreter(head []byte) string {
	line, _, whole := bytes.Cut(head[2:], []byte("\n"))
	line = bytes.TrimLeft(line, " \t")
	end := bytes.IndexAny(line, " \t\x00")
	if end < 0 {
		if end = len(line); !whole && len(head) == 256 {
			return "" // it may go on
		}
	}
	return string(line[:end])
}

// mounted tells whether name may lie in a mount that the root does not show.
// Links in the image may lead anywhere, so any mount that is not one of every
// container counts.
func (l Place) mounted(name string) bool {
	return slices.ContainsFunc(l.mounts, func(m specs.Mount) bool {
		if !slices.Contains(usual, m.Destination) {
			return true
		}
		return name == m.Destination || strings.HasPrefix(name, m.Destination+"/")
	})
}

var usual = []string{"/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup", "/etc/hosts", "/etc/hostname"}

type missing struct{ text string }

func notFound(format string, args ...any) error { return missing{fmt.Sprintf(format, args...)} }

func (m missing) Error() string { return m.text }

// Unwrap gives the class, and what os/exec has for it.
func (missing) Unwrap() []error {
	return []error{errdefs.ErrNotFound, exec.ErrNotFound, fs.ErrNotExist}
}
