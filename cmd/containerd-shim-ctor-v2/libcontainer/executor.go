// Package libcontainer is the executor that makes containers in the shim's own
// process, with runc as a library: no runc command is executed for any step.
//
// A program that uses it imports ../hook and should call hook.Seal first. The
// mount namespace of the process should be its own, with slave mounts.
package libcontainer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/containerd/errdefs"
	runc "github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"

	"github.com/ctorhq/ctor/cmd/containerd-shim-ctor-v2/seccomp"
	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// Executor makes containers.
type Executor struct {
	root    string
	state   *os.File // keeps root; nil if nothing has to
	forks   *forks
	filters seccomp.Cache
	ready   func(context.Context, *configs.Seccomp) (*configs.Seccomp, error) // filters.Ready
}

var _ task.Executor = (*Executor)(nil)

// New makes an executor that keeps the state of its containers in dir, or, if
// dir is "", in memory. filters is a directory of this user's for compiled
// seccomp profiles, which executors share; "" is none.
func New(dir, filters string) (*Executor, error) {
	if !seccomp.Enabled {
		return nil, errors.New("this program was built without seccomp: build it with -tags seccomp")
	}
	root, state, err := stateDir(dir)
	if err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	// One thread a CPU: as many containers are made at once.
	e := &Executor{root: root, state: state, forks: newForks(max(2, runtime.GOMAXPROCS(0)))}
	e.filters.Dir = filters
	e.ready = e.filters.Ready
	return e, nil
}

// Create makes a container, with its first process waiting to be started.
func (e *Executor) Create(ctx context.Context, b task.Bundle, io task.Stdio) (task.Container, task.Process, error) {
	if b.Images != "" {
		return restore(ctx, b, io)
	}
	cgroup.ExpectMove()
	if err := b.Mount(); err != nil {
		return nil, task.Process{}, err
	}
	c, p, err := e.create(ctx, b, io)
	if err != nil {
		return nil, task.Process{}, fmt.Errorf("create container %s: %w", b.ID, err)
	}
	return c, p, nil
}

func (e *Executor) create(ctx context.Context, b task.Bundle, io task.Stdio) (*Container, task.Process, error) {
	var none task.Process
	if err := ctx.Err(); err != nil {
		return nil, none, err
	}
	spec, err := bundleSpec(b)
	if err != nil {
		return nil, none, err
	}
	process, err := newProcess(spec.Process)
	if err != nil {
		return nil, none, err
	}
	process.Init = true
	config, err := newConfig(spec, b)
	if err != nil {
		return nil, none, err
	}
	if config.Seccomp, err = e.ready(ctx, config.Seccomp); err != nil {
		return nil, none, err
	}
	// Two namespaces may have containers of the same name.
	root := filepath.Join(e.root, b.Namespace)
	made, err := runc.Create(root, b.ID, config)
	switch {
	case errors.Is(err, runc.ErrExist):
		return nil, none, fmt.Errorf("%w: %w", errdefs.ErrAlreadyExists, err)
	case errors.Is(err, runc.ErrInvalidID):
		return nil, none, fmt.Errorf("%w: %w", errdefs.ErrInvalidArgument, err)
	case err != nil:
		return nil, none, err
	}
	c := &Container{
		forks:     e.forks,
		made:      made,
		first:     process,
		turn:      make(chan struct{}, 1),
		resources: spec.Linux.Resources,
		root:      root,
		dir:       b.Dir,
	}
	p, err := c.launch(ctx, process, io)
	if err != nil {
		if err2 := made.Destroy(); err2 != nil {
			err = fmt.Errorf("%w; %w", err, err2)
		}
		return nil, none, err
	}
	return c, p, nil
}

// Close lets go of the executor's threads and state. Its containers have been
// deleted.
func (e *Executor) Close() {
	e.forks.close()
	if e.state != nil {
		e.state.Close()
	}
}
