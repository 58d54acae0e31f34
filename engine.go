package ctor

import (
	"context"
	"errors"
	"fmt"

	containerd "github.com/containerd/containerd/v2/client"

	"github.com/ctorhq/ctor/internal/engine"
)

// Engine runs containers and keeps images. Open makes one of services inside
// this process, Dial one over a containerd that runs already; nothing else in
// this module can tell the two apart. It is safe for use by any number of
// goroutines.
type Engine struct {
	in    *engine.Engine
	about func(context.Context, *Info) error // tells what is behind in.Client
	close func(clean bool) error             // ends what stands behind in.Client
	done  chan struct{}
	err   error
}

func init() {
	engine.Of = func(e any) *engine.Engine { return e.(*Engine).in }
}

// Containerd gives the client that everything in this module is built on, for
// what it does not wrap. Its calls want a context from [Engine.Context]. It
// must not be closed, and does not work after Close of the engine.
//
// Of an engine that Open made, nothing stands behind the client's connection:
// Client.Transfer, which wants one, is TransferService().Transfer there.
func (e *Engine) Containerd() *containerd.Client { return e.in.Client }

// Context gives ctx the engine's namespace and logger, for calls of the client
// that Containerd gives. Functions of this module do it themselves.
func (e *Engine) Context(ctx context.Context) context.Context { return e.in.Context(ctx) }

// Root is the directory the engine lives in, absolute.
func (e *Engine) Root() string { return e.in.Root }

// Snapshotter is the snapshotter in use.
func (e *Engine) Snapshotter() string { return e.in.Snapshotter }

// Close ends calls that are under way with ErrClosed, kills the engine's
// attached containers and deletes them, then ends the services or hangs up.
// Detached containers go on. A second Close waits for the first and returns
// what it returned.
func (e *Engine) Close() error {
	first, err := e.in.Shut()
	if !first {
		<-e.done
		return e.err
	}
	defer close(e.done)
	err = errors.Join(err, e.close(err == nil))
	if err = errors.Join(err, e.in.Events.Close()); err != nil { // last: what ends is told
		e.err = fmt.Errorf("close engine: %w", err)
	}
	return e.err
}
