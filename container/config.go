package container

import (
	"fmt"
	"io"
	"time"

	"github.com/containerd/containerd/v2/pkg/identifiers"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/body"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/logfile"
	"github.com/ctorhq/ctor/internal/ready"
	"github.com/ctorhq/ctor/internal/record"
	"github.com/ctorhq/ctor/internal/spec"
)

// Config says how an instance differs from what its image says. The zero value
// changes nothing. Its strings reach the container as they are: what is not UTF-8,
// which a runtime can't be told, is ctor.ErrInvalid.
type Config struct {
	// Name is what the container is called beside its id, up to 76 letters,
	// digits, and single "-", "_" or "." between them. No two containers of an
	// engine have the same; one that is taken fails with ctor.ErrAlreadyExists.
	// Container.Rename changes it. "" means that its id is its name.
	Name string

	// Args replaces the image's Cmd. Empty means the image's, unless
	// Entrypoint is set.
	Args []string

	// Entrypoint replaces the image's Entrypoint, and drops its Cmd. nil means
	// the image's; non-nil and empty clears it.
	Entrypoint []string

	// Env is added to the image's environment, as "NAME=value"; of one name
	// the last wins. The program's own environment is not passed on. PATH,
	// HOSTNAME, HOME and, with TTY, TERM are there in any case.
	Env []string

	// Dir is the working directory, made if missing. A relative one counts from
	// the root. "" means the image's, else the root.
	Dir string

	// User is "name", "uid", "name:group" or "uid:gid". Names are looked up in
	// the image's own passwd and group files; one that is not there fails with
	// ctor.ErrNotFound, and one that has no number from 0 to 2147483647 there with
	// ctor.ErrInvalid. "" means the image's.
	User string

	// Hostname is what the container calls itself, also in its /etc/hosts: up
	// to 64 letters, digits, '-', '.' and '_'. "" means its name.
	Hostname string

	// Stdin is copied to the container's standard input, which ends when
	// Stdin does; Wait tells of a Read that fails. A container that is started
	// again reads on where its last life stopped, as two commands of os/exec do
	// that are run one after the other. An *os.File, such as os.Stdin, is not
	// read any more after the container's end. Of another reader a Read that
	// does not return keeps a goroutine, but neither Wait nor Close waits for
	// it, and what it gives between two lives is the next life's. nil is no
	// input. Stdin can't be used with Detach, and a later program that finds a
	// kept container has none.
	Stdin io.Reader

	// Stdout and Stderr receive the container's output as it comes; Logs keeps
	// it too. If they are the same writer, at most one goroutine at a time
	// writes to it. A writer that fails gets no more, and Wait says so; one
	// that is slow slows the container down. When the container is started
	// again, they get the output of the next life as well, also one that has
	// failed. nil is Logs only. They can't be used with Detach, and a later
	// program that finds a kept container has none.
	Stdout, Stderr io.Writer

	// TTY gives the container a terminal. It has no stderr then: a terminal is
	// one stream. When Stdin ends, the terminal is sent ^D; a program that has
	// it in raw mode reads that as a character.
	TTY bool

	// LogLimit is how many bytes Logs keeps on disk at most, 13 for each chunk
	// of output that came in at once included. When there are more the oldest
	// quarter is dropped, so that at least three quarters are kept. 0 means
	// 64 MiB; -1 means no limit, and a container can then fill the disk. Less
	// than 1 MiB is ctor.ErrInvalid.
	LogLimit int64

	// Labels are kept with the container, up to 4096 bytes for a name and its
	// value. Names that begin with "io.ctor." are the library's own, and
	// "containerd.io/" is containerd's.
	Labels map[string]string

	// Mounts are added to the container's file system, in this order: a later
	// one hides what it covers. Before them comes a volume without a name for each
	// directory that the image declares as one (VOLUME), unless one of Mounts has
	// the same Target.
	Mounts []Mount

	// Network is the container's: its own without a way out, if zero; with one
	// ([Out]); with others in it (network.Network.Join); another container's ([Share]);
	// or the host's ([Host]).
	Network Network

	// Publish makes ports of the container ports of the host, as long as this
	// program has the container. An address that is taken fails New with
	// syscall.EADDRINUSE. It can't be used with Detach. The program itself needs
	// none: it has Dial.
	Publish []Port

	// Limits bound what the container may use.
	Limits Limits

	// Security changes the container's walls.
	Security Security

	// Ready says when the container is ready for what it is made for: the
	// image's Run returns then. nil is once it is started.
	Ready Probe

	// Health is the check that tells whether the container is well, as Info and the
	// engine's events have it: it runs on a timer as long as the container runs and
	// this program, or the one that finds it, has it. nil is the image's HEALTHCHECK; one
	// without Args is none.
	Health *Healthcheck

	// StopSignal is what Stop sends first, such as "SIGQUIT", "quit", "3" or
	// "SIGRTMIN+3". "" means the image's, else SIGTERM.
	StopSignal string

	// StopTimeout is how long Stop waits before it kills. 0 means 10 seconds,
	// as with Docker; negative means to kill at once, without StopSignal.
	StopTimeout time.Duration

	// Detach lets the container outlive this program: a later engine on the
	// same root finds it with Get, running or ended, with its exit code and
	// its log. Without it the container ends with the engine. Where that program
	// has another version of this module, the two may not understand each other:
	// then the container runs on, and each call but Logs and Close says so.
	Detach bool

	// Keep lets the container's files outlive this program, and not its
	// processes: they end with the engine, or the program, like those of a
	// container that is neither kept nor detached. Its writable layer, its log
	// and its record stay; a later engine on the same root finds it with Get,
	// and starts it again. Close ends its processes and lets go of it, Remove
	// deletes it. It can't be used with Detach.
	Keep bool

	// Init has a small program execute the command and wait for the processes that
	// others leave behind, instead of the command as the container's first process:
	// those would stay zombies where the command does not expect them. It also passes
	// signals on, of which a first process ignores those that it has no handler for.
	// The program comes with this module, and is /dev/init in the container. Its exit
	// code is the command's; where it can't execute that, 126 or 127. Info's Pid is
	// its own.
	Init bool

	// Restart is the policy by which the container begins its next life when one has
	// ended. It can't be used with AutoRemove, and with Detach not together with a way
	// out. Over a containerd of ctor.Dial it can't be used with Detach either.
	Restart Restart

	// AutoRemove removes the container when its life has ended and its output is
	// written, as Remove does; Wait still tells how it ended. A detached container is
	// removed by the engine that is open then, or the next one, and of it only a Wait
	// that has begun before tells that. It can't be used with Keep or Restart.
	AutoRemove bool

	// Spec has the last word on the OCI runtime configuration, once, within
	// New; its error ends New. It can also weaken what the defaults protect.
	// nil changes nothing.
	Spec func(*specs.Spec) error
}

// check finds what is wrong with a Config before anything is made.
func (cfg Config) check() error {
	if cfg.Name != "" {
		if err := identifiers.Validate(cfg.Name); err != nil {
			return fmt.Errorf("name: %w", err)
		}
	}
	if cfg.Detach && (cfg.Stdin != nil || cfg.Stdout != nil || cfg.Stderr != nil) {
		return invalid("a detached container outlives the program's readers and writers: leave Stdin, Stdout and Stderr nil and read Logs")
	}
	if cfg.Detach && cfg.Keep {
		return invalid("Detach and Keep: the processes of a container go on without the program, or they end with it")
	}
	if err := cfg.checkRestart(); err != nil {
		return err
	}
	if err := spec.CheckHostname(cfg.Hostname); err != nil {
		return err
	}
	if cfg.StopSignal != "" {
		if _, err := life.ParseSignal(cfg.StopSignal); err != nil {
			return err
		}
	}
	if cfg.LogLimit < -1 || cfg.LogLimit > 0 && cfg.LogLimit < logfile.MinLimit {
		return invalid("log limit %d: it must be -1, 0 or at least %d", cfg.LogLimit, logfile.MinLimit)
	}
	if err := cfg.Network.plan.Check(cfg.Detach, cfg.Keep); err != nil {
		return err
	}
	if err := cfg.Limits.check(); err != nil {
		return err
	}
	if err := checkPorts(cfg); err != nil {
		return err
	}
	return record.CheckLabels(cfg.Labels)
}

// plan is what package body makes of it.
func (cfg Config) plan() (p body.Plan, err error) {
	p = body.Plan{
		User: cfg.User, Network: cfg.Network.plan, Disk: cfg.Limits.Disk, Init: cfg.Init, Edit: cfg.Spec,
		Health: (*ready.Healthcheck)(cfg.Health),
		Wanted: spec.Options{
			Args: cfg.Args, Entrypoint: cfg.Entrypoint, Env: cfg.Env,
			Dir: cfg.Dir, Hostname: cfg.Hostname, TTY: cfg.TTY,
		},
		Record: record.Record{
			Name: cfg.Name, Labels: cfg.Labels, StopSignal: cfg.StopSignal, StopTimeout: cfg.StopTimeout,
			LogLimit: cfg.LogLimit, Out: cfg.Network.plan.Record(), Detached: cfg.Detach, Kept: cfg.Keep,
			Restart: int(cfg.Restart), AutoRemove: cfg.AutoRemove,
		},
	}
	for _, m := range cfg.Mounts {
		p.Mounts = append(p.Mounts, m.spec())
	}
	if p.Wanted.Limits, err = cfg.Limits.spec(); err != nil {
		return p, err
	}
	if p.Wanted.Security, err = spec.Security(cfg.Security).Here(); err != nil {
		return p, err
	}
	p.Wanted.Fixed, err = cfg.Limits.fixed()
	return p, err
}

// invalid makes an error of class ctor.ErrInvalid.
func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...)
}
