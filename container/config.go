package container

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/pkg/identifiers"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/spec"
)

// Config says how an instance differs from what its image says. The zero value
// changes nothing.
type Config struct {
	// Name is the container's id, up to 76 letters, digits, and single "-",
	// "_" or "." between them. "" means a random one. A name that is taken
	// fails with ctor.ErrAlreadyExists.
	Name string

	// Args replaces the image's Cmd. Empty means the image's, unless
	// Entrypoint is set.
	Args []string

	// Entrypoint replaces the image's Entrypoint, and drops its Cmd. nil means
	// the image's; non-nil and empty clears it.
	Entrypoint []string

	// Env is added to the image's environment, as "NAME=value"; of one name
	// the last wins. The program's own environment is not passed on.
	Env []string

	// Dir is the working directory, made if missing. "" means the image's.
	Dir string

	// User is "name", "uid", "name:group" or "uid:gid". Names are looked up in
	// the image's own passwd and group files; one that is not there fails with
	// ctor.ErrNotFound. "" means the image's.
	User string

	// Hostname is what the container calls itself. "" means its id.
	Hostname string

	// Stdin is copied to the container's standard input, which ends when
	// Stdin does. nil is no input. It can't be used with Detach.
	Stdin io.Reader

	// Stdout and Stderr receive the container's output as it comes; Logs keeps
	// it too. If they are the same writer, at most one goroutine at a time
	// writes to it. A writer that fails gets no more, and Wait says so. nil is
	// Logs only. They can't be used with Detach.
	Stdout, Stderr io.Writer

	// TTY gives the container a terminal. It has no stderr then: a terminal is
	// one stream.
	TTY bool

	// Labels are kept with the container. Names that begin with "io.ctor." are
	// the library's own, and "containerd.io/" is containerd's.
	Labels map[string]string

	// Mounts are added to the container's file system, in this order.
	Mounts []Mount

	// Limits bound what the container may use.
	Limits Limits

	// StopSignal is what Stop sends first, such as "SIGQUIT", "QUIT" or "3".
	// "" means the image's, else SIGTERM.
	StopSignal string

	// StopTimeout is how long Stop waits before it kills. 0 means 10 seconds;
	// negative is no time at all.
	StopTimeout time.Duration

	// Detach lets the container outlive this program: a later engine on the
	// same root finds it with Get, running or ended, with its exit code and
	// its log. Without it the container ends with the engine.
	Detach bool

	// Spec has the last word on the OCI runtime configuration. nil changes
	// nothing. It can also weaken what the defaults protect.
	Spec func(*specs.Spec) error
}

// Limits bound what a container may use.
type Limits struct {
	CPUs   float64 // of one CPU's time each second: 0.5, 2; 0 = no limit; at least 0.01
	Memory int64   // bytes; 0 = no limit; at least 6 MiB
	Pids   int64   // processes and threads; 0 = 4096; -1 = no limit
}

// MountType is the kind of a Mount.
type MountType string

// The kinds of mounts.
const (
	Bind  MountType = "bind"  // a file or directory of the host
	Tmpfs MountType = "tmpfs" // memory, empty at first
)

// Mount is something of the host, or of memory, in a container.
type Mount struct {
	Type     MountType // "" = Bind
	Source   string    // Bind: a path on the host, absolute; it must exist
	Target   string    // where in the container, absolute
	ReadOnly bool
	Size     int64 // Tmpfs: bytes; 0 = half of the host's memory
}

func (m Mount) spec() (specs.Mount, error) {
	invalid := func(what string) (specs.Mount, error) {
		return specs.Mount{}, fmt.Errorf("mount on %q: %s: %w", m.Target, what, errdefs.ErrInvalidArgument)
	}
	if !filepath.IsAbs(m.Target) || filepath.Clean(m.Target) == "/" {
		return invalid("the target must be an absolute path below /")
	}
	mode := "rw"
	if m.ReadOnly {
		mode = "ro"
	}
	switch m.Type {
	case Bind, "":
		if m.Size != 0 {
			return invalid("only Tmpfs has a size")
		}
		if !filepath.IsAbs(m.Source) {
			return invalid(fmt.Sprintf("the source %q must be an absolute path", m.Source))
		}
		if _, err := os.Stat(m.Source); err != nil {
			return specs.Mount{}, fmt.Errorf("mount on %q: source: %w: %w", m.Target, err, errdefs.ErrNotFound)
		}
		return specs.Mount{
			Type: "bind", Source: m.Source, Destination: m.Target,
			Options: []string{"rbind", "rprivate", mode},
		}, nil
	case Tmpfs:
		if m.Source != "" || m.Size < 0 {
			return invalid("Tmpfs has no source, and no negative size")
		}
		options := []string{"nosuid", "nodev", "noexec", "mode=1777", mode}
		if m.Size > 0 {
			options = append(options, fmt.Sprintf("size=%d", m.Size))
		}
		return specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: m.Target, Options: options}, nil
	}
	return invalid(fmt.Sprintf("unknown type %q", m.Type))
}

// check finds what is wrong with a Config before anything is made.
func (cfg Config) check() error {
	if cfg.Name != "" {
		if err := identifiers.Validate(cfg.Name); err != nil {
			return fmt.Errorf("name: %w", err)
		}
	}
	if cfg.Detach && (cfg.Stdin != nil || cfg.Stdout != nil || cfg.Stderr != nil) {
		return fmt.Errorf("a detached container outlives the program's readers and writers: leave Stdin, Stdout and Stderr nil and read Logs: %w", errdefs.ErrInvalidArgument)
	}
	if strings.ContainsAny(cfg.Hostname, " \t\n\x00/") || len(cfg.Hostname) > 64 {
		return fmt.Errorf("hostname %q: %w", cfg.Hostname, errdefs.ErrInvalidArgument)
	}
	for name := range cfg.Labels {
		if name == "" || strings.HasPrefix(name, ownLabels) || strings.HasPrefix(name, "containerd.io/") {
			return fmt.Errorf("label %q: the name is reserved: %w", name, errdefs.ErrInvalidArgument)
		}
	}
	if _, err := parseSignal(cfg.StopSignal); cfg.StopSignal != "" && err != nil {
		return err
	}
	return nil
}

func (cfg Config) options() (spec.Options, error) {
	o := spec.Options{
		ID: cfg.Name, Args: cfg.Args, Entrypoint: cfg.Entrypoint, Env: cfg.Env,
		Dir: cfg.Dir, Hostname: cfg.Hostname, TTY: cfg.TTY,
		Limits: spec.Limits(cfg.Limits),
	}
	for _, m := range cfg.Mounts {
		s, err := m.spec()
		if err != nil {
			return o, err
		}
		o.Mounts = append(o.Mounts, s)
	}
	o.Args, o.Env = slices.Clone(o.Args), slices.Clone(o.Env)
	return o, nil
}
