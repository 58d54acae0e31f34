package ctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/ctorhq/ctor/internal/backend"
	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/events"
	"github.com/ctorhq/ctor/internal/host"
	"github.com/ctorhq/ctor/internal/services"
	"github.com/ctorhq/ctor/internal/shim"
	"github.com/ctorhq/ctor/internal/shim/link"
	"github.com/ctorhq/ctor/internal/tasks"
	"github.com/ctorhq/ctor/internal/unwind"
)

// Open starts an engine inside this process: containerd's services over
// cfg.Root, without a daemon and without a socket. ctx bounds the opening
// only.
//
// The root is the engine's alone until Close: a second Open of it fails with
// ErrLocked and the process that has it. What a program that was killed left
// behind in it is removed first.
//
// It needs root, of the host or of a user namespace (cmd/ctor-userns); where that, or something of the host, is missing the error is
// ErrUnavailable and says what to do. A Config that can't be is ErrInvalid.
func Open(ctx context.Context, cfg Config) (_ *Engine, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("open engine: %w", err)
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if s := cfg.Snapshotter; s != "" && !slices.Contains(snapshotters, s) {
		return nil, fmt.Errorf("snapshotter %q: it must be one of %q (%w)", s, snapshotters, ErrInvalid)
	}
	if err := host.CheckRoot(); err != nil {
		return nil, err
	}
	var undo unwind.Stack
	defer undo.OnError(&err)
	lock, err := takeRoot(cfg.Root)
	if err != nil {
		return nil, err
	}
	undo.Once(func() error { return lock.Unlock(!lock.Dirty && !undo.Stuck()) })
	if cfg.Snapshotter == "" {
		cfg.Snapshotter = host.Snapshotter(cfg.Root)
	}
	o := opening{cfg: cfg, dirty: lock.Dirty, undo: &undo}
	if err := o.start(ctx); err != nil {
		return nil, engine.Cause(ctx, err)
	}
	e := &Engine{in: o.in, about: o.about, done: make(chan struct{}), close: func(clean bool) error {
		err := o.stop()
		return errors.Join(err, lock.Unlock(clean && err == nil))
	}}
	engine.Resume(ctx, e)
	return e, nil
}

// snapshotters are those of an engine in this process.
var snapshotters = []string{"overlayfs", "native"}

// takeRoot makes the root and takes it.
func takeRoot(root string) (*engine.Lock, error) {
	unusable := func(err error) error {
		return fmt.Errorf("root %s can't be used: %w (%w): choose another Config.Root", root, err, ErrUnavailable)
	}
	if err := makeRoot(root); err != nil {
		return nil, err
	}
	lock, err := engine.LockRoot(root)
	if errors.Is(err, ErrLocked) {
		return nil, err
	}
	if err != nil {
		return nil, unusable(err)
	}
	if _, err := os.Lstat(filepath.Join(root, "containerd")); errors.Is(err, fs.ErrNotExist) {
		lock.Dirty = false // nobody has been here
	}
	// The root may have been there, open to all. What is in it is not: images
	// hold files that only their owner should read.
	for _, name := range []string{"containerd", "state", "containers", "volumes", "events"} {
		dir := filepath.Join(root, name)
		err := host.CheckOwn(dir)
		if err == nil {
			err = os.MkdirAll(dir, 0o700)
		}
		if err != nil {
			return nil, errors.Join(unusable(err), lock.Unlock(!lock.Dirty))
		}
	}
	return lock, nil
}

// opening is an engine on its way from a root that was taken.
type opening struct {
	cfg   Config
	dirty bool // the root's last program has left things undone
	undo  *unwind.Stack

	shim     string // path
	in       *engine.Engine
	services *services.Services
}

func (o *opening) start(ctx context.Context) error {
	path, err := shim.Find(o.cfg.Shim)
	if err != nil {
		return err
	}
	o.in = &engine.Engine{
		Namespace: o.cfg.Namespace, Snapshotter: o.cfg.Snapshotter,
		Root: o.cfg.Root, Files: filepath.Join(o.cfg.Root, "containers"), Volumes: filepath.Join(o.cfg.Root, "volumes"),
		Runtime: link.Runtime, Logger: o.cfg.Logger,
		Events: events.Open(filepath.Join(o.cfg.Root, "events", o.cfg.Namespace)),
	}
	o.shim, o.in.Preflight = path, preflight(path)
	o.in.Init()
	ctx = o.in.Context(ctx)
	c := services.Config{
		Root:        filepath.Join(o.cfg.Root, "containerd"),
		State:       filepath.Join(o.cfg.Root, "state"),
		Namespace:   o.cfg.Namespace,
		Snapshotter: o.cfg.Snapshotter,
		Shim:        path,
		Cgroups:     func(namespace string) string { return cgroup.Parent(o.cfg.Root, namespace) },
		Owner:       engine.OwnerLabel,
		Scratch:     engine.ScratchLabel,
	}
	if o.dirty {
		if err := repair(ctx, o.cfg.Root, c); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	s, err := services.Start(ctx, c)
	if err != nil {
		return err
	}
	o.undo.Close(s)
	o.services, o.in.Client, o.in.Snapshotters = s, s.Client(), s.Snapshotters()
	o.in.Backend = &backend.Own{Tasks: s.Tasks(), Snapshotters: s.Snapshotters()}
	if err := o.sweep(ctx); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	return nil
}

// preflight says what the host lacks to run containers with a shim. Only the
// command can go away again.
func preflight(path string) func() error {
	var fine atomic.Bool
	return func() error {
		if !fine.Load() {
			if err := host.Survey().Check(); err != nil {
				return err
			}
			fine.Store(true)
		}
		return shim.Lacks(path)
	}
}

// repair does what must be done after a dirty end before services start.
func repair(ctx context.Context, root string, c services.Config) error {
	if err := tasks.Settle(ctx, filepath.Join(c.State, "tasks")); err != nil {
		return err
	}
	return errors.Join(host.SweepMounts(root), services.Repair(ctx, c.Root))
}

// sweep removes what the last engine of this root could not. Even one that
// ended in good order may have a detached container whose shim was killed
// since: its processes go.
func (o *opening) sweep(ctx context.Context) error {
	var errs []error
	if o.dirty {
		errs = append(errs, o.in.Sweep(ctx))
		o.in.Tell(events.Event{Kind: events.Engine, Action: events.Swept})
	}
	all, err := o.in.Client.NamespaceService().List(ctx)
	errs = append(errs, err)
	for _, ns := range all {
		errs = append(errs, o.removeCgroups(ns, o.services.Tasks().Detached(ns)))
	}
	errs = append(errs, o.services.Tasks().Sweep(ctx))
	if o.dirty {
		errs = append(errs, o.services.Sweep(ctx))
	}
	return errors.Join(errs...)
}

// removeCgroups removes the cgroups, and kills what is in them, of all
// containers of a namespace but those that have a shim of their own.
func (o *opening) removeCgroups(namespace string, kept []string) error {
	parent := cgroup.Parent(o.cfg.Root, namespace)
	if parent == "" {
		return nil
	}
	return cgroup.Remove(parent, kept...)
}

// stop ends the services.
func (o *opening) stop() error {
	kept := o.services.Tasks().Detached(o.cfg.Namespace)
	err := o.services.Close()
	return errors.Join(err, o.removeCgroups(o.cfg.Namespace, kept))
}

// about asks what the shim is.
func (o *opening) about(ctx context.Context, i *Info) error {
	i.embedded(ctx, o.shim)
	return nil
}
