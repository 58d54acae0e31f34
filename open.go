package ctor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/host"
	"github.com/ctorhq/ctor/internal/services"
	"github.com/ctorhq/ctor/internal/unwind"
)

// Open starts an engine inside this process: containerd's services over
// cfg.Root, without a daemon and without a socket. ctx bounds the opening
// only.
//
// The root is the engine's alone until Close: a second Open of it fails with
// ErrLocked and the process that has it. What a program that was killed left
// behind in it is removed first.
func Open(ctx context.Context, cfg Config) (_ *Engine, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("open engine: %w", err)
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := host.CheckRoot(); err != nil {
		return nil, err
	}
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	var undo unwind.Stack
	defer undo.OnError(&err)
	lock, err := engine.LockRoot(cfg.Root)
	if err != nil {
		return nil, lockError(cfg.Root, err)
	}
	undo.Push(lock.Unlock)
	if err := cfg.chooseSnapshotter(); err != nil {
		return nil, err
	}
	in := &engine.Engine{
		Namespace: cfg.Namespace, Snapshotter: cfg.Snapshotter, Root: cfg.Root,
		Runtime: services.Runtime, Embedded: true, Logger: cfg.Logger,
	}
	in.Init()
	s, err := services.Start(in.Context(ctx), services.Config{
		Root:        filepath.Join(cfg.Root, "containerd"),
		State:       filepath.Join(cfg.Root, "state"),
		Namespace:   cfg.Namespace,
		Snapshotter: cfg.Snapshotter,
	})
	if err != nil {
		return nil, err
	}
	undo.Close(s)
	in.Client = s.Client()
	cgroup := host.CgroupParent(in.Root, in.Namespace)
	if err := sweep(in.Context(ctx), in, s, lock.Dirty, cgroup); err != nil {
		return nil, err
	}
	return &Engine{in: in, done: make(chan struct{}), close: func() error {
		kept := s.Tasks().Any() // detached containers
		err := s.Close()
		if !kept {
			err = errors.Join(err, host.RemoveCgroup(cgroup))
		}
		return errors.Join(err, lock.Unlock())
	}}, nil
}

// sweep removes what the last engine of this root could not.
func sweep(ctx context.Context, in *engine.Engine, s *services.Services, dirty bool, cgroup string) error {
	if err := in.Sweep(ctx, dirty); err != nil {
		return err
	}
	if !dirty {
		return nil
	}
	if err := s.Tasks().Sweep(); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	if s.Tasks().Any() {
		return nil
	}
	if err := host.RemoveCgroup(cgroup); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	return nil
}

func lockError(root string, err error) error {
	if errors.Is(err, ErrLocked) {
		return err
	}
	return fmt.Errorf("root %s is not writable: %w (%w): choose another Config.Root", root, err, ErrUnavailable)
}

func (cfg *Config) chooseSnapshotter() error {
	known := []string{"overlayfs", "native"}
	if cfg.Snapshotter == "" {
		cfg.Snapshotter = host.Snapshotter(cfg.Root)
	}
	if !slices.Contains(known, cfg.Snapshotter) {
		return fmt.Errorf("snapshotter %q: it must be one of %q (%w)", cfg.Snapshotter, known, ErrInvalid)
	}
	return nil
}
