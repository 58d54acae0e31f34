// Package engine is what the public packages share of an engine: the
// containerd client and the names under it, who is using it, and what has to
// end with it.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/events"
	"github.com/ctorhq/ctor/internal/lan"
	"github.com/ctorhq/ctor/internal/memo"
	"github.com/ctorhq/ctor/internal/reach"
	"github.com/ctorhq/ctor/internal/ready"
	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/unwind"
)

// ErrClosed is the class of calls on a closed engine.
var ErrClosed = errors.New("engine is closed")

// Of gives the engine behind a *ctor.Engine. The root package sets it, for the other
// public packages.
var Of func(ctorEngine any) *Engine

// Engine is the waist: everything above speaks to Client, and asks Backend what
// differs behind it.
type Engine struct {
	Client      *containerd.Client
	Namespace   string
	Snapshotter string
	// Snapshotters are all that may have layers of ours. With services of our
	// own there are no others.
	Snapshotters []string
	Root         string       // absolute
	Files        string       // below it: where the files of containers are
	Volumes      string       // likewise: where volumes are, by namespace
	Runtime      string       // of new containers
	Backend      Backend      // what Client can't tell of what is behind it
	Doors        reach.Doors  // nil: Init makes those of this process
	Preflight    func() error // says what the host lacks to run containers; nil: nothing to check
	Logger       *slog.Logger
	Events       *events.Log // nil: none are kept

	entry  *log.Entry
	life   context.Context // ends when Close begins
	end    context.CancelCauseFunc
	inside sync.WaitGroup // calls under way

	// CA is the authority that containers trust whose way out answers TLS in
	// this program. It is made when it is first needed.
	CA func() (*egress.CA, error)

	// Decisions is told of what ways out decide. Those of detached containers are made by
	// another process, which tells nothing.
	Decisions Decisions

	// Networks are those of package network: they end with the engine.
	Networks lan.Set

	// Health is that of the containers which this program looks at.
	Health ready.Ward

	points   func() (string, error)          // makes the layer of mount points
	classes  memo.Memo[digest.Digest, Class] // of manifests
	verified verified
	names    names
	users    users
	origins  sync.Map // ids of containers whose image has a lease

	mu       sync.Mutex
	closed   bool
	attached map[string]Attached

	turns turns
	pulls pulls
	debt  unwind.Debt
	trash rootfs.Trash // the files of containers that were removed
}

// Attached is what ends with the engine: a container, or what is held open of it.
type Attached interface{ Close() error }

// Init readies e, whose exported fields are set.
func (e *Engine) Init() {
	e.entry = newEntry(e.Logger)
	e.life, e.end = context.WithCancelCause(e.decorate(context.Background()))
	e.attached = map[string]Attached{}
	e.CA = sync.OnceValues(egress.NewCA)
	e.points = sync.OnceValues(e.makePoints)
	if e.Doors == nil {
		e.Doors = reach.Here(e.life)
	}
}

// decorate gives ctx what containerd expects in it.
func (e *Engine) decorate(ctx context.Context) context.Context {
	return log.WithLogger(namespaces.WithNamespace(ctx, e.Namespace), e.entry)
}

// Context gives ctx the engine's namespace and logger.
func (e *Engine) Context(ctx context.Context) context.Context { return e.decorate(ctx) }

// Enter begins a call: the context it gives is decorated and ends when the
// engine is closed. The caller calls leave when done.
func (e *Engine) Enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, nil, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	e.inside.Add(1)
	ctx, cancel := context.WithCancelCause(e.decorate(ctx))
	stop := context.AfterFunc(e.life, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
		e.inside.Done()
	}, nil
}

// Cleanup gives a context for undoing things: ctx's values without its end,
// and a bound of its own.
func (e *Engine) Cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(e.decorate(context.WithoutCancel(ctx)), 30*time.Second)
}

// Tell notes what has happened, for those who read the engine's events, and for its
// Logger.
func (e *Engine) Tell(ev events.Event) {
	e.Events.Add(ev)
	if e.Logger == nil || !e.Logger.Enabled(e.life, slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{slog.String("component", "ctor"), slog.String("kind", ev.Kind)}
	for _, a := range []slog.Attr{
		slog.String("id", ev.ID), slog.String("name", ev.Name), slog.String("container", ev.Container),
		slog.String("image", ev.Image), slog.String("detail", ev.Detail),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	if ev.Life != 0 {
		attrs = append(attrs, slog.Int("life", ev.Life), slog.Int("code", ev.Code))
	}
	e.Logger.LogAttrs(e.life, slog.LevelDebug, ev.Action, attrs...)
}

// Attach ties something to the engine's life.
func (e *Engine) Attach(id string, a Attached) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	e.attached[id] = a
	return nil
}

// Share is Attach, unless something is tied by that id already, which it gives.
func (e *Engine) Share(id string, a Attached) (Attached, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	if there := e.attached[id]; there != nil {
		return there, nil
	}
	e.attached[id] = a
	return a, nil
}

// Attached finds what Attach has tied.
func (e *Engine) Attached(id string) Attached {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.attached[id]
}

// Forget ends what Attach began.
func (e *Engine) Forget(id string, a Attached) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.attached[id] == a {
		delete(e.attached, id)
	}
}

// Settle tries again to undo what is owed.
func (e *Engine) Settle() error { return e.debt.Settle() }

// Life ends when the engine begins to close.
func (e *Engine) Life() context.Context { return e.life }

// Closed tells whether Shut was called.
func (e *Engine) Closed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

// patience is how long Shut waits for calls to end. They do so at once, unless a
// reader, writer or function of the program's does not return.
var patience = 10 * time.Second

// Shut ends the calls under way, closes what is attached, all at once, and
// settles what is owed. It reports whether it was the first to be called.
func (e *Engine) Shut() (first bool, err error) {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return false, nil
	}
	e.closed = true
	attached := maps.Clone(e.attached) // what closes is forgotten meanwhile
	e.mu.Unlock()
	e.end(ErrClosed)

	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	if !e.left(patience) {
		errs = append(errs, fmt.Errorf("calls are still under way after %v: they wait for a reader, a writer or a function of the program's", patience))
	}
	end := func(what string, a Attached) {
		wg.Go(func() {
			if err := a.Close(); err != nil {
				mu.Lock()
				errs = append(errs, fmt.Errorf("close %s: %w", what, err))
				mu.Unlock()
			}
		})
	}
	for id, a := range attached {
		end("container "+id, a)
	}
	end("the files of containers", e.Doors)
	wg.Wait()
	errs = append(errs, e.Networks.Close(), e.Settle(), e.trash.Empty())
	return true, errors.Join(errs...)
}

// left waits until no call is under way.
func (e *Engine) left(limit time.Duration) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.inside.Wait()
	}()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// Cause turns the error of a call that the engine's end cut short into
// ErrClosed, and that of a call whose ctx ended into ctx's own error, which
// containerd's client hides behind a status.
func Cause(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	cause := context.Cause(ctx)
	if errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", cause, err)
}
