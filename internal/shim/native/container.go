package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/pidfd"
	"github.com/ctorhq/ctor/internal/shim/native/forker"
	"github.com/ctorhq/ctor/internal/shim/seccomp"
	"github.com/ctorhq/ctor/internal/shim/task"
	"github.com/ctorhq/ctor/internal/userns"
)

// container is one that the executor has made.
type container struct {
	executor *Executor
	id       string
	spec     *specs.Spec
	group    string           // its cgroup
	filter   *seccomp.Program // nil: there is none
	users    *users           // nil: the host's
	root     int              // its root file system, which would sync the disk when it is let go of
	pid      int              // of the first process
	pidfd    int              // likewise

	mu      sync.Mutex
	waiting *forker.Child // for its start; nil: it was started
	parked  bool          // and for its command before that
	last    []change      // of its mounts, after that

	finished bool // those are made
	deleted  bool
}

var _ task.Container = (*container)(nil)

// Start implements task.Container.
func (c *container) Start(ctx context.Context) error {
	c.mu.Lock()
	child, parked := c.waiting, c.parked
	if !parked {
		c.waiting = nil
	}
	c.mu.Unlock()
	fail := func(err error) error { return fmt.Errorf("start container %s: %w", c.id, err) }
	if parked {
		return fail(fmt.Errorf("%w: it has no command yet", errdefs.ErrFailedPrecondition))
	}
	if child == nil {
		return fail(fmt.Errorf("%w: it was started before", errdefs.ErrFailedPrecondition))
	}
	defer child.Close()
	if err := child.Start(); err != nil {
		return fail(fmt.Errorf("%w: its process has ended", errdefs.ErrFailedPrecondition))
	}
	// The process goes on, even if the caller does not wait to hear of it.
	if _, err := child.Executed(context.WithoutCancel(ctx)); err != nil {
		return fail(explain(err, ""))
	}
	return nil
}

// Exec implements task.Container.
func (c *container) Exec(ctx context.Context, id string, p *specs.Process, stdio task.Stdio) (task.Process, error) {
	started, err := c.exec(ctx, p, stdio)
	if err != nil {
		return task.Process{}, fmt.Errorf("exec %s in container %s: %w", id, c.id, explain(err, p.Args[0]))
	}
	return started, nil
}

func (c *container) exec(ctx context.Context, p *specs.Process, stdio task.Stdio) (none task.Process, err error) {
	if what := beyondProcess(p); what != "" {
		return none, fmt.Errorf("%s, in a container that was made without: %w", what, errdefs.ErrNotImplemented)
	}
	if c.cgroup().Frozen() { // it would stop half-way
		return none, fmt.Errorf("%w: the container is paused", errdefs.ErrFailedPrecondition)
	}
	doors, err := cgroup.Open(c.group)
	if errors.Is(err, fs.ErrNotExist) {
		return none, fmt.Errorf("%w: the container has ended", errdefs.ErrFailedPrecondition)
	}
	if err != nil {
		return none, err
	}
	defer doors.Close()
	var script forker.Script
	if err := c.writeExec(&script, doors, p, stdio); err != nil {
		return none, err
	}
	child, err := c.fork(ctx, doors, &script)
	if err != nil {
		return none, orEnded(err)
	}
	terminal, err := child.Executed(ctx)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		if terminal != nil {
			terminal.Close()
		}
		return none, errors.Join(orEnded(err), abort(child, c.cgroup()))
	}
	child.Close()
	return task.Process{Pid: child.Pid, Console: terminal}, nil
}

// fork has a further process forked.
func (c *container) fork(ctx context.Context, doors cgroup.Doors, script *forker.Script) (*forker.Child, error) {
	order := forker.Order{Cgroup: doors.Two, Pids: c.pidfd, Script: script}
	child, err := c.executor.pool.Fork(ctx, order)
	switch {
	case errors.Is(err, unix.ENOMEM): // or the first process is ending: the next answer tells
		return c.executor.pool.Fork(ctx, order)
	case errors.Is(err, unix.EBUSY):
		// Version 2 has processes in the leaves alone. A first process that divides its
		// cgroup has moved to one, and the others follow it, as with runc.
		leaf, oerr := cgroup.Leaf(c.group, c.pid)
		if oerr != nil || ended(c.pidfd) {
			return nil, errors.Join(err, oerr)
		}
		defer unix.Close(leaf)
		order.Cgroup = leaf
		return c.executor.pool.Fork(ctx, order)
	}
	return child, err
}

// orEnded gives an error its class that means that the container has ended: its first
// process is gone, or its cgroup.
func orEnded(err error) error {
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("%w: the container has ended: %w", errdefs.ErrFailedPrecondition, err)
	}
	return err
}

// everything are the namespaces that a process is moved to.
const everything = unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP

// apart are the namespaces of the container that the shim is not in. Of the host's own a
// user namespace may join none, so there the configuration tells which they are.
func (c *container) apart() (kinds uint32) {
	if userns.Own().Host() {
		return everything
	}
	for _, n := range c.spec.Linux.Namespaces {
		kinds |= namespaces[n.Type] & everything
	}
	return kinds
}

// writeExec makes a script of a further process's configuration.
func (c *container) writeExec(s *forker.Script, doors cgroup.Doors, configured *specs.Process, stdio task.Stdio) error {
	env, err := environ(configured, c.root)
	if err != nil {
		return err
	}
	p := process{Process: configured, id: c.id, env: env, filter: c.filter, users: c.users.of(c.pidfd)}
	s.DeathSignal()
	s.Session()
	s.JoinCgroups(doors.Lists)
	s.Join(c.pidfd, c.apart())
	p.streams(s, stdio)
	if err := p.settings(s); err != nil {
		return err
	}
	s.Directory(false, p.Cwd)
	p.finish(s)
	return nil
}

// abortPatience is how long a process that was killed may take to end. In a cgroup
// of version 1 that was frozen meanwhile it does not.
const abortPatience = time.Second

// abort ends a process of a cgroup before the caller has been told of it.
func abort(child *forker.Child, group cgroup.Group) error {
	defer child.Close()
	fd, err := unix.PidfdOpen(child.Pid, 0)
	if err != nil {
		return fmt.Errorf("end process %d: %w", child.Pid, err)
	}
	defer unix.Close(fd)
	_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	if pidfd.Await(fd, time.Now().Add(abortPatience)) == nil && !ended(fd) {
		group.Thaw()
	}
	for {
		if _, err := unix.Wait4(child.Pid, nil, 0, nil); err != unix.EINTR {
			return nil
		}
	}
}

func ended(fd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err == nil && n == 1
}

func (c *container) cgroup() cgroup.Group { return cgroup.At(c.group) }

// Pause implements task.Container.
func (c *container) Pause(context.Context) error {
	if err := c.cgroup().Freeze(); err != nil {
		return fmt.Errorf("pause container %s: %w", c.id, err)
	}
	return nil
}

// Resume implements task.Container.
func (c *container) Resume(context.Context) error {
	if !c.cgroup().Frozen() {
		return fmt.Errorf("resume container %s: %w: it is not paused", c.id, errdefs.ErrFailedPrecondition)
	}
	c.cgroup().Thaw()
	return nil
}

// Update implements task.Container.
func (c *container) Update(_ context.Context, r *specs.LinuxResources) error {
	if err := cgroup.Update(c.group, r); err != nil {
		return fmt.Errorf("update container %s: %w", c.id, err)
	}
	return nil
}

// Checkpoint implements task.Container. CRIU is driven by runc, by a state of its own:
// a container that is to be checkpointed is made by the other executor, if its
// configuration says so (beyond).
func (c *container) Checkpoint(context.Context, task.Checkpoint) error {
	return fmt.Errorf("checkpoint container %s, made without annotation %s: %w", c.id, task.CriuAnnotation, errdefs.ErrNotImplemented)
}

// Delete implements task.Container.
func (c *container) Delete(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !ended(c.pidfd) && !c.deleted {
		return fmt.Errorf("delete container %s: %w: it runs", c.id, errdefs.ErrFailedPrecondition)
	}
	if c.waiting != nil {
		c.waiting.Close()
		c.waiting = nil
	}
	if !c.deleted {
		c.deleted = true
		unix.Close(c.pidfd)
		// The last of an overlay syncs the whole file system that it writes to.
		c.executor.late.Go(func() { unix.Close(c.root) })
	}
	if err := cgroup.Drop(c.group); err != nil {
		return fmt.Errorf("delete container %s: %w", c.id, err)
	}
	return nil
}

// explain gives an error of a process's the class that it means.
func explain(err error, name string) error {
	var r *forker.Refusal
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("its process has ended: %w", errdefs.ErrFailedPrecondition)
	case !errors.As(err, &r):
		return err
	case r.Finding && (r.Errno == unix.ENOENT || r.Errno == unix.ENOTDIR):
		return &exec.Error{Name: name, Err: exec.ErrNotFound}
	case r.Finding:
		return fmt.Errorf("%w: %w: not an executable file", &exec.Error{Name: name, Err: fs.ErrPermission}, r.Errno)
	case r.Executing:
		return fmt.Errorf("%w: the kernel does not execute it: its format, its interpreter or the length of its arguments is at fault: %w", r, errdefs.ErrInvalidArgument)
	case slices.Contains(misplaced, r.Errno):
		return fmt.Errorf("%w: %w", r, errdefs.ErrInvalidArgument)
	}
	return err
}

// misplaced are the errors of a path that the image has something else in the place
// of.
var misplaced = []unix.Errno{unix.ENOTDIR, unix.EISDIR, unix.ENOENT, unix.ELOOP, unix.EEXIST, unix.ENAMETOOLONG}
