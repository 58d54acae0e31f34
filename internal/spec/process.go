package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/host"
	"github.com/ctorhq/ctor/internal/rootfs"
)

// Command is a caller's wish for a process: os/exec's fields. Zero values mean
// what the container's first process has.
type Command struct {
	Path   string
	Args   []string // with the name; none: Path
	Env    []string
	Dir    string
	User   string
	TTY    bool
	Width  uint16 // of the terminal, in characters; 0: not known
	Height uint16
}

// Process writes the configuration of a command, in the root file system of a
// container that runs, from that of the container's first process.
//
// A runtime looks into passwd and group, some in any case, others for a HOME; it
// would never return if a container has made a fifo of them, or a link to the
// kernel's log.
func (c Command) Process(root *rootfs.Root, first *specs.Process) (*specs.Process, error) {
	for _, name := range []string{passwd, group} {
		f, err := openNames(root, name)
		if err != nil {
			return nil, err
		}
		if f != nil {
			f.Close()
		}
	}
	return c.process(Place{Root: root, Noun: "container"}, first)
}

// Replace has a command take the place of the first process of a container
// that is not made yet. root is the image's.
func (c Command) Replace(root *rootfs.Root, s *specs.Spec) (err error) {
	if err := checkNames(root, s); err != nil {
		return err
	}
	s.Process, err = c.process(Place{Root: root, Noun: "image", mounts: s.Mounts}, s.Process)
	return err
}

func (c Command) process(at Place, first *specs.Process) (*specs.Process, error) {
	p := *first
	p.Terminal, p.ConsoleSize = c.TTY, nil
	if c.TTY && c.Width > 0 {
		p.ConsoleSize = &specs.Box{Width: uint(c.Width), Height: uint(c.Height)}
	}
	home := ""
	var err error
	if c.User != "" {
		if p.User, home, err = User(at.Root, c.User); err != nil {
			return nil, err
		}
		if err := host.CheckUser(p.User); err != nil {
			return nil, err
		}
	}
	if p.Cwd, err = c.dir(at, first.Cwd); err != nil {
		return nil, err
	}
	if p.Env, err = c.Environ(first); err != nil {
		return nil, err
	}
	if p.Env, err = c.home(at.Root, &p, first, home); err != nil {
		return nil, err
	}
	p.Args, err = c.args(at, &p, first.Env)
	return &p, err
}

// First is what an image says of its first process, as far as that is known
// without its files: there is no HOME.
func First(image ocispec.ImageConfig, o Options) (*specs.Process, error) {
	p := &specs.Process{}
	var err error
	if p.Env, err = env(image, o); err != nil {
		return nil, err
	}
	p.Env = slices.DeleteFunc(p.Env, func(e string) bool { return e == "HOME=" })
	p.Cwd, err = workingDir(image, o)
	return p, err
}

// Environ is the environment of the command, save for the home of its user.
func (c Command) Environ(first *specs.Process) ([]string, error) {
	env := c.Env
	if env == nil {
		env = slices.Clone(first.Env)
		if _, ok := lookupEnv(env, "TERM"); c.TTY && !ok {
			env = append(env, "TERM=xterm")
		}
		if c.Dir != "" {
			env = append(env, "PWD="+path.Join("/", first.Cwd, c.Dir))
			if path.IsAbs(c.Dir) {
				env[len(env)-1] = "PWD=" + path.Clean(c.Dir)
			}
		}
	}
	var good []string
	var err error
	for _, e := range env {
		if e == "" {
			continue // as os/exec does
		}
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" || strings.ContainsRune(e, 0) {
			err = badVariable(e)
			continue
		}
		good = append(good, e)
	}
	return lastOfName(good), err
}

// home gives the environment a HOME, unless it has one: a runtime would look for
// the home itself, and trust what it finds. other is the home of a user who is
// not the first process's, "" if it is the same user.
func (c Command) home(root *rootfs.Root, p, first *specs.Process, other string) (_ []string, err error) {
	if now, _ := lookupEnv(p.Env, "HOME"); now != "" {
		if c.Env != nil || other == "" {
			return p.Env, nil
		}
		// The first process's is its user's, or what the image says.
		if _, old, err := User(root, uid(first)); err != nil || now != old {
			return p.Env, nil
		}
	}
	if other == "" {
		if _, other, err = User(root, uid(p)); err != nil {
			return nil, err
		}
	}
	return lastOfName(append(p.Env, "HOME="+other)), nil
}

func uid(p *specs.Process) string { return strconv.FormatUint(uint64(p.User.UID), 10) }

// dir is the working directory. A runtime would make a missing directory for a
// container's first process, and fail for others.
func (c Command) dir(at Place, first string) (string, error) {
	if c.Dir == "" {
		return first, nil
	}
	dir := c.Dir
	if !path.IsAbs(dir) {
		dir = path.Join(first, dir)
	}
	fail := func(err error) error { return &fs.PathError{Op: "chdir", Path: c.Dir, Err: err} }
	st, err := at.Root.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && at.mounted(path.Clean(dir)):
	case err != nil:
		return "", fail(errors.Unwrap(err))
	case !st.IsDir():
		return "", fail(unix.ENOTDIR)
	}
	return path.Clean(dir), nil
}

// args makes one list of Path and Args, as runtimes take it: a runtime executes
// what the first element means. That is Args[0] where it means Path, and else
// Path.
func (c Command) args(at Place, p *specs.Process, firstEnv []string) ([]string, error) {
	lookup := *p
	lookup.Env = firstEnv
	file, err := at.find(&lookup, c.Path)
	if err != nil {
		return nil, err
	}
	args := slices.Clone(c.Args)
	if len(args) == 0 {
		args = []string{c.Path}
	}
	if meant, err := at.lookPath(p, args[0]); err != nil || meant != file {
		args[0] = file
	}
	checked := *p
	checked.Args = args
	return args, checkStrings(&checked)
}

func lookupEnv(env []string, name string) (value string, ok bool) {
	for _, e := range env {
		if v, found := strings.CutPrefix(e, name+"="); found {
			value, ok = v, true
		}
	}
	return value, ok
}

func badVariable(e string) error {
	return fmt.Errorf("environment variable %q is not of the form NAME=value: %w", e, errdefs.ErrInvalidArgument)
}
