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

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/native/forker"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// Executor makes containers.
type Executor struct {
	fallback task.Executor // nil: there is none
	lacks    error         // why
	pool     *forker.Pool  // nil: this host can't
	why      error         // that it can't
	filters  filters
	late     sync.WaitGroup // what is done after the answer

	mu       sync.Mutex
	expected map[string]*expected // by cgroup
}

var _ task.Executor = (*Executor)(nil)

// New makes an executor with another that it hands to what it does not do: a nil one
// where the host lacks what that needs, with the error that says so.
func New(fallback task.Executor, lacks error) *Executor {
	e := &Executor{fallback: fallback, lacks: lacks}
	e.pool, e.why = forker.Start(max(2, runtime.GOMAXPROCS(0)))
	return e
}

// Able tells why containers are made by the other executor alone; nil is that they
// are not.
func (e *Executor) Able() error { return e.why }

// Create implements task.Executor.
func (e *Executor) Create(ctx context.Context, b task.Bundle, io task.Stdio) (task.Container, task.Process, error) {
	if e.pool == nil {
		return e.handOver(ctx, b, io, e.why)
	}
	if what := beyond(b); what != "" {
		return e.handOver(ctx, b, io, beyondf("%s", what))
	}
	c, p, err := e.create(ctx, b, &io)
	if errors.Is(err, errBeyond) {
		return e.handOver(ctx, b, io, err)
	}
	if err != nil {
		return nil, task.Process{}, fmt.Errorf("create container %s: %w", b.ID, explain(err, b.Spec.Process.Args[0]))
	}
	return c, p, nil
}

func (e *Executor) handOver(ctx context.Context, b task.Bundle, io task.Stdio, why error) (task.Container, task.Process, error) {
	if l := b.Spec.Linux; l != nil {
		if err := e.Forget(l.CgroupsPath); err != nil {
			return nil, task.Process{}, err
		}
	}
	if e.fallback == nil {
		return nil, task.Process{}, fmt.Errorf("create container %s: %v: %w", b.ID, why, e.lacks)
	}
	return e.fallback.Create(ctx, b, io)
}

// Supported tells whether hosts of this kind can have containers made by this
// executor, as far as the kernel's release and the processor say. A host may forbid
// it all the same.
func Supported() bool {
	var u unix.Utsname
	var major, minor int
	if unix.Uname(&u) != nil {
		return false
	}
	_, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	return err == nil && forker.Built() && (major > 5 || major == 5 && minor >= 12)
}

// Close lets go of the forkers. Containers have been deleted.
func (e *Executor) Close() {
	e.late.Wait()
	if e.pool != nil {
		e.pool.Close()
	}
}
