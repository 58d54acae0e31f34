package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/bundle"
	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/unwind"
)

// container is one that the service has.
type container struct {
	bundle    Bundle
	handle    Container
	parked    Parked // handle, until it has its command; nil: it has one. Guarded by init.starting
	init      *process
	ours      bool // the bundle: removed with the container
	placed    bool // its root file system is not in the bundle, but in the lobby
	stillborn bool // a restart policy made it, and it could not be started
	shared    bool // its pid namespace is another's: its processes outlive the first

	// Execs hold starts for reading while they start a process. Pause and the
	// container's end wait for them: a process that is half made would hang in
	// a frozen container, and would not be killed in one that has ended.
	starts sync.RWMutex

	life context.Context // done when the first process has ended
	end  context.CancelFunc

	allowance allowance // of processes, beside its limit

	oomWatch sync.Once // begun, and ended by life
	orphans  sync.Once // looked for, until life's end

	freezing sync.Mutex // one pause or resume at a time

	mu     sync.Mutex
	group  cgroup.Group // none before it is made
	paused bool
	ooms   int // kills that were told
	execs  map[string]*process

	deleting sync.Mutex
	deleted  bool // guarded by deleting
}

// order is what a container is made from.
type order struct {
	key
	parked bool   // it gets its command later
	dir    string // the bundle's
	spec   []byte // of a bundle that is to be made first; nil: it is there
	images string // directory of a checkpoint to restore; "": none
	rootfs []mount.Mount
	paths  paths

	mandate *mandate // nil: its first life is its only one
}

// newContainer makes a container. One that is restored is made by its start:
// its processes run at once.
func (s *Service) newContainer(ctx context.Context, o order) (_ *container, err error) {
	var undo unwind.Stack
	defer undo.OnError(&err)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := &container{
		bundle: Bundle{ID: o.id, Namespace: o.namespace, Dir: o.dir, Rootfs: bundle.Rootfs(o.dir), Images: o.images},
		init:   newProcess("", o.paths),
		execs:  map[string]*process{},
		ours:   o.spec != nil,
	}
	c.life, c.end = context.WithCancel(context.Background())
	if c.ours {
		if err := bundle.Create(o.dir, o.spec); err != nil {
			return nil, err
		}
		undo.Push(c.removeBundle)
		c.bundle.Spec, err = bundle.Parse(o.spec)
	} else {
		c.bundle.Spec, err = bundle.Spec(o.dir)
	}
	if err != nil {
		return nil, err
	}
	if p := c.bundle.Spec.Process; p == nil || len(p.Args) == 0 && o.images == "" {
		return nil, fmt.Errorf("the configuration names no process, or nothing for it to execute: %w", errdefs.ErrInvalidArgument)
	}
	s.note(bundle.Parent(c.bundle.Spec))
	c.shared = sharedPids(c.bundle.Spec)
	if len(o.rootfs) > 0 {
		if err := s.settleRoot(c); err != nil {
			return nil, err
		}
		undo.Push(c.unmount) // before, for one of several mounts may fail
		c.bundle.Mounts = o.rootfs
	} else if r := c.bundle.Spec.Root; r != nil && filepath.IsAbs(r.Path) {
		c.bundle.Rootfs = r.Path
	}
	if o.images != "" {
		return c, nil
	}
	create := c.createIn(s.executor)
	if o.parked {
		create = c.parkIn(s.executor)
	}
	if err := c.make(ctx, s.ending, create); err != nil {
		return nil, fmt.Errorf("OCI runtime create failed: %w", err)
	}
	return c, nil
}

// createIn has an executor make the container as Executor.Create does.
func (c *container) createIn(e Executor) func(context.Context, Stdio) (Container, Process, error) {
	return func(ctx context.Context, io Stdio) (Container, Process, error) { return e.Create(ctx, c.bundle, io) }
}

// make has the executor make the container. ending is done when the service ends.
func (c *container) make(ctx, ending context.Context, create func(context.Context, Stdio) (Container, Process, error)) (err error) {
	st, child, err := c.open(ctx, c.init.paths)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			st.close()
		}
	}()
	defer c.family()()
	defer children.enter()()
	handle, started, err := create(ctx, child)
	child.close()
	if err != nil {
		children.suspect(ending)
		if ctx.Err() != nil {
			// It may have been stopped where it could not clean up.
			err = errors.Join(err, bundle.Sweep(c.bundle.Dir))
		}
		return err
	}
	if err := c.init.born(started, st); err != nil {
		started.discard()
		return errors.Join(err, handle.Delete(context.WithoutCancel(ctx)))
	}
	c.handle = handle
	c.mu.Lock()
	defer c.mu.Unlock()
	c.group = cgroup.Of(started.Pid)
	return nil
}

// open opens the streams of a process. Those that have names belong to the root
// of the container's user namespace, which may open them again.
func (c *container) open(ctx context.Context, p paths) (*streams, Stdio, error) {
	var root Options
	root.UID, root.GID = bundle.Root(c.bundle.Spec)
	if err := root.Own(p.in, p.out, p.err); err != nil {
		return nil, Stdio{}, err
	}
	return p.open(ctx, c.bundle.Namespace, c.bundle.ID)
}

// family has the shim look after the processes that a container without a pid
// namespace of its own leaves to it, until it has ended. The returned function
// is for a create that failed.
func (c *container) family() func() {
	if !c.shared {
		return func() {}
	}
	children.adopt()
	return func() {
		if c.handle == nil {
			children.dismiss()
		}
	}
}

// cgroup is where the container is.
func (c *container) cgroup() cgroup.Group {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.group
}

// suspect has the orphans of an exec that failed looked for as long as the
// container lives: they may live as long.
func (c *container) suspect() {
	c.orphans.Do(func() {
		children.adopt()
		context.AfterFunc(c.life, children.dismiss)
	})
}

// call makes a call of the executor's that may have children of its own.
func (c *container) call(f func() error) error {
	defer children.enter()()
	return f()
}

// unmount takes away the root file system, and what is mounted on top of and
// below it.
func (c *container) unmount() error {
	if c.placed {
		return errors.Join(mount.UnmountAll(c.bundle.Rootfs, unix.MNT_DETACH), leave(c.bundle.Rootfs))
	}
	if c.bundle.Rootfs != bundle.Rootfs(c.bundle.Dir) {
		return nil // the caller mounted it
	}
	return mount.UnmountAll(c.bundle.Rootfs, unix.MNT_DETACH)
}

// delete undoes a container that has ended, with deleting held. It is not
// interrupted: half a deletion is hard to take up again.
func (c *container) delete(ctx context.Context) error {
	for _, p := range c.all() {
		_, _ = p.abandon() // for the callers that wait for one that was never started
		p.streams.settle()
	}
	c.init.streams.settle()
	unmounted := make(chan error, 1)
	go func() { unmounted <- c.unmount() }()
	var err error
	if c.handle != nil {
		err = c.call(func() error { return c.handle.Delete(context.WithoutCancel(ctx)) })
	}
	if errdefs.IsNotFound(err) {
		err = nil // an earlier call got this far
	}
	if err = errors.Join(err, <-unmounted); err == nil {
		err = c.removeBundle()
	}
	c.deleted = err == nil
	return err
}

// removeBundle is called when nothing is mounted in it.
func (c *container) removeBundle() error {
	if !c.ours {
		return nil
	}
	return os.RemoveAll(c.bundle.Dir)
}

// sharedPids tells whether the end of the first process leaves others.
func sharedPids(s *specs.Spec) bool {
	if s.Linux != nil {
		for _, ns := range s.Linux.Namespaces {
			if ns.Type == specs.PIDNamespace {
				return ns.Path != ""
			}
		}
	}
	return true
}

// process finds a process; "" is the first.
func (c *container) process(id string) (*process, error) {
	if id == "" {
		return c.init, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.execs[id]
	if p == nil {
		return nil, fmt.Errorf("process %s of container %s: %w", id, c.bundle.ID, errdefs.ErrNotFound)
	}
	return p, nil
}

// add notes a process that Exec announces.
func (c *container) add(p *process) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.init.current() == tasktypes.Status_STOPPED {
		return c.hasEnded()
	}
	if c.execs[p.id] != nil {
		return fmt.Errorf("process %s of container %s: %w", p.id, c.bundle.ID, errdefs.ErrAlreadyExists)
	}
	c.execs[p.id] = p
	return nil
}

func (c *container) hasEnded() error {
	return fmt.Errorf("container %s has ended: %w", c.bundle.ID, errdefs.ErrFailedPrecondition)
}

func (c *container) drop(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.execs, id)
}

// all are the processes beside the first.
func (c *container) all() []*process {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*process
	for _, p := range c.execs {
		list = append(list, p)
	}
	return list
}
