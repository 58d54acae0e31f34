// Package native is the executor that makes containers with the kernel's own calls:
// no command and no Go program is executed for any step. The shim makes ready
// operations of a container's configuration, opens what they need of the host, and
// has a forker's copy carry them out (package forker).
//
// What it does not do it hands to another executor, container by container: see
// beyond. So does a host whose kernel is older than 5.12, or that forbids what the
// forker needs.
package native

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/ctorhq/ctor/internal/shim/native/forker"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// Executor makes containers.
type Executor struct {
	fallback task.Executor
	pool     *forker.Pool // nil: this host can't
	why      error        // that it can't
	filters  filters
	late     sync.WaitGroup // what is done after the answer
}

var _ task.Executor = (*Executor)(nil)

// New makes an executor with another that it hands to what it does not do.
func New(fallback task.Executor) *Executor {
	e := &Executor{fallback: fallback}
	e.pool, e.why = forker.Start(max(2, runtime.GOMAXPROCS(0)))
	return e
}

// Able tells why containers are made by the other executor alone; nil is that they
// are not.
func (e *Executor) Able() error { return e.why }

// Create implements task.Executor.
func (e *Executor) Create(ctx context.Context, b task.Bundle, io task.Stdio) (task.Container, task.Process, error) {
	if e.pool == nil || beyond(b) != "" {
		return e.fallback.Create(ctx, b, io)
	}
	c, p, err := e.create(ctx, b, io)
	if errors.Is(err, errBeyond) {
		return e.fallback.Create(ctx, b, io)
	}
	if err != nil {
		return nil, task.Process{}, fmt.Errorf("create container %s: %w", b.ID, err)
	}
	return c, p, nil
}

// Close lets go of the forkers. Containers have been deleted.
func (e *Executor) Close() {
	e.late.Wait()
	if e.pool != nil {
		e.pool.Close()
	}
}
