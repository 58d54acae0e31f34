package shim

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/reexec"
	"github.com/ctorhq/ctor/internal/sealed"
	"github.com/ctorhq/ctor/internal/shim/link"
	"github.com/ctorhq/ctor/internal/slate"
)

// Program is what a service's shims are started from.
type Program struct {
	Path    string // from Find
	Filters string // a directory for the shims' compiled seccomp filters; "" is none

	once sync.Once
	copy *os.File // nil: there is none
}

// Close lets go of the copy. Shims that run keep it.
func (p *Program) Close() {
	p.once.Do(func() {}) // none is made any more
	if p.copy != nil {
		p.copy.Close()
	}
}

// exec gives the path to execute: that of a copy in memory, which nobody can
// write to. A shim has to be one, so that no container reaches through it for
// the file, and makes one of itself where it is not: at each start, which takes
// as long again. All shims of this program share this one. The program itself,
// as its own shim, runs containers with the runc command, which sees to that.
func (p *Program) exec() string {
	if p.Path == Self {
		return p.Path
	}
	p.once.Do(func() {
		var err error
		if p.copy, err = seal(p.Path); err != nil {
			p.copy = nil // the shim can do without
		}
	})
	if p.copy == nil {
		return p.Path
	}
	return "/proc/self/fd/" + strconv.Itoa(int(p.copy.Fd()))
}

const elf = "\x7fELF"

// seal copies an executable file into memory.
func seal(path string) (*os.File, error) {
	from, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	var magic [len(elf)]byte
	if _, err := io.ReadFull(from, magic[:]); err != nil || string(magic[:]) != elf {
		return nil, fmt.Errorf("%s is no ELF file", path) // what runs a script could not open it
	}
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return sealed.Program(link.Name, from)
}

// start executes a shim. It runs in a session of its own, or ^C in a terminal
// would reach it, and in a mount namespace of its own, so that no mount
// outlives it.
func (p *Program) start(kind, dir, log string, files ...*os.File) (*process, error) {
	out, err := openLog(log)
	if err != nil {
		return nil, fmt.Errorf("open shim log: %w", err)
	}
	defer out.Close()
	// The lock goes with the descriptor into the process and ends with it:
	// Settle waits for that.
	if err := unix.Flock(int(out.Fd()), unix.LOCK_SH); err != nil {
		return nil, fmt.Errorf("lock shim log: %w", err)
	}
	before, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	pidfd := -1
	attr := &os.ProcAttr{
		Dir:   dir,
		Env:   p.environ(dir),
		Files: append([]*os.File{null, out, out}, files...),
		Sys:   &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNS, PidFD: &pidfd},
	}
	path, args := p.exec(), link.Args(kind)
	if p.Path == Self {
		args = reexec.Args(link.Name, link.Role, args[1:]...)
	}
	child, err := slate.Start(path, args, attr)
	if errors.Is(err, fs.ErrPermission) && path != p.Path { // what is in memory may not be executed here
		child, err = slate.Start(p.Path, args, attr)
	}
	if err != nil {
		return nil, fmt.Errorf("start shim: %w", err)
	}
	defer child.Release()
	c, err := adopt(child, pidfd, p.Path == Self)
	if err != nil {
		return nil, err
	}
	c.log, c.before = log, before
	return c, nil
}

// logLimit is the size from which on a log is begun anew by the next shim. A
// shim has little to say, but those of many programs write the same one.
const logLimit = 1 << 20

// openLog opens a log to append to. It stays the same file, whose lock others
// may hold or wait for.
func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.Size() > logLimit {
		err = f.Truncate(0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// environ is what a shim that works in dir needs: PATH, where the commands are that
// it executes. Of what else the program has been told much is not for them, or
// would reach containers by way of them (NOTIFY_SOCKET, LISTEN_FDS). What they
// make for a moment, they make in dir: the host need not have another place.
func (p *Program) environ(dir string) []string {
	env := slate.Environ([]string{"PATH", "GORACE"},
		link.FiltersEnv+"="+p.Filters, "TMPDIR="+dir, "XDG_RUNTIME_DIR="+dir)
	if _, set := os.LookupEnv("GORACE"); !set {
		// A program built with -race sleeps for a second at its end, in case other
		// threads still have races to tell of, and so would its shims, at each
		// Close of an engine.
		env = append(env, "GORACE=atexit_sleep_ms=0")
	}
	return env
}
