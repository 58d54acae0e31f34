package container

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/life"
)

// Pool keeps warm instances of an image: containers whose namespaces, cgroup, files and
// mounts are there, and whose first process waits to be told what to execute. [Claim]
// takes one and tells it. It is safe for use by any number of goroutines.
//
// A claimed container is as one that New gives, in all that it may, sees and costs. No
// two claims share anything but what the pool's Config shares, such as a volume. What
// waits in the pool is in no list, and reaches and is reached by nothing: a container
// joins its networks, and gets its way out, when it is claimed. Each takes a cgroup and
// about half a MiB of the kernel's memory.
//
// Warm instances need the executor that is the library's own, and an engine of Open.
// Elsewhere (Dial; a kernel before 5.12; Security.UserNS; what Config.Spec may ask of a
// runtime, such as hooks) a pool is empty, and a claim makes its container as New does.
type Pool struct {
	template builder
	size     int

	key     string             // by which the engine knows the pool
	ctx     context.Context    // of making instances
	stop    context.CancelFunc // ends it
	working sync.WaitGroup     // what is made, watched and thrown away

	mu      sync.Mutex
	idle    []*warm // the oldest first
	filling bool
	died    int   // instances, since the last claim
	failed  error // why no more are made before the next claim; nil: they are
	cold    bool  // no instance can wait here
	closed  bool
	left    []error // what could not be thrown away
}

// warm is an instance that waits for its claim.
type warm struct {
	builder
	parts parts
	pid   int
	left  context.CancelFunc // ends the watch over it
}

// Warm makes a pool of n warm instances of the image whose manifest is given, which are
// ready when it returns. Most programs call [image.Image.Warm], which calls this. ref
// is the name the image goes by, for Info.
//
// cfg is what all have in common; see Claim for what one may have of its own. Its
// Spec is called for each instance that is made, and again when that is claimed: what
// it changes beside Process has to be the same then, or the claim makes another
// container. Ready is not looked at: a claimed container's WaitReady takes one. Name,
// Stdin, Detach and Keep are ctor.ErrInvalid, and so is an n below 1; else the errors
// are those of New, but for those of the command, which only a claim needs.
//
// When Warm fails, or ctx ends before it returns, nothing is left.
//
// [image.Image.Warm]: https://pkg.go.dev/github.com/ctorhq/ctor/image#Image.Warm
func Warm(ctx context.Context, e *ctor.Engine, ref string, manifest ocispec.Descriptor, n int, cfg Config) (_ *Pool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("warm instances of %s: %w", ref, err)
		}
	}()
	switch {
	case n < 1:
		return nil, invalid("a pool of %d", n)
	case cfg.Name != "" || cfg.Stdin != nil:
		return nil, invalid("Name and Stdin are one container's: leave them to the claim")
	case cfg.Detach || cfg.Keep:
		return nil, invalid("Detach and Keep: a warm instance ends with the program")
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	in := engine.Of(e)
	p := &Pool{template: builder{ctor: e, in: in, cfg: cfg, ref: ref, manifest: manifest}, size: n, key: "pool " + newID()}
	p.ctx, p.stop = context.WithCancel(in.Context(context.Background()))
	p.cold = in.Backend.Parker() == nil
	if err := in.Attach(p.key, p); err != nil {
		return nil, err
	}
	for p.wants() {
		err := p.make(ctx)
		if err == nil {
			err = p.failure()
		}
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	return p, nil
}

// wants tells whether there is room for one more.
func (p *Pool) wants() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lacks()
}

// lacks is called with mu held.
func (p *Pool) lacks() bool { return !p.cold && !p.closed && len(p.idle) < p.size }

// make makes a warm instance, if one can wait here.
func (p *Pool) make(ctx context.Context) error {
	w := &warm{builder: p.template}
	w.id, w.parked = newID(), true
	ctx, leave, err := w.in.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := w.ready(); err != nil {
		return err
	}
	err = w.park(ctx)
	if errdefs.IsNotImplemented(err) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cold = true
		return nil
	}
	if err == nil && !p.put(w) {
		err = errors.Join(errPoolClosed, w.undo.Run())
	}
	return engine.Cause(ctx, err)
}

// park makes the container but for its command.
func (w *warm) park(ctx context.Context) (err error) {
	parked := false
	defer func() {
		if !parked {
			err = errors.Join(err, w.undo.Run())
		}
	}()
	own, cancel := w.own(ctx)
	defer cancel()
	if w.parts, err = w.builder.parts(ctx, own); err != nil {
		return err
	}
	defer w.parts.release()
	r, err := w.record(w.parts)
	if err != nil {
		return err
	}
	if r, err = w.in.Client.ContainerService().Create(own, r); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	c := w.container(r, w.parts)
	err = c.links.Shared(own, func() error {
		a, err := w.in.Backend.Parker().Park(own, c.task(w.parts.mounts, cio.Config{}))
		w.pid = int(a.GetPid())
		return life.Explain(err)
	})
	if err != nil {
		return err
	}
	parked = ctx.Err() == nil
	return ctx.Err()
}

// process names the first process to the runtime.
func (w *warm) process() life.Process {
	return life.Process{Tasks: w.in.Client.TaskService(), Container: w.id}
}

// put takes a new instance in, and watches over it, unless the pool is closed.
func (p *Pool) put(w *warm) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.idle = append(p.idle, w)
	ctx, left := context.WithCancel(p.ctx)
	w.left = left
	p.working.Go(func() {
		defer left()
		_, _ = w.process().Wait(ctx)
		if p.bury(w) {
			p.tell(errors.Join(errDied, w.undo.Run()))
			p.fill()
		}
	})
	return true
}

var (
	errPoolClosed = fmt.Errorf("the pool is closed: %w", ctor.ErrClosed)
	errDied       = errors.New("an instance has ended before it was claimed")
)

// bury takes out an instance that has ended, and tells whether it was waiting.
func (p *Pool) bury(w *warm) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := slices.Index(p.idle, w)
	if n < 0 {
		return false
	}
	p.idle = slices.Delete(p.idle, n, n+1)
	if p.died++; p.died > p.size {
		p.failed = errDied
	}
	return true
}

// take takes the oldest; nil is that there is none.
func (p *Pool) take() (*warm, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errPoolClosed
	}
	if len(p.idle) == 0 {
		return nil, nil
	}
	w := p.idle[0]
	p.idle = slices.Delete(p.idle, 0, 1)
	w.left()
	return w, nil
}

// breath is how long a claimed container has the processors to itself, to be started,
// before another one is made in its place.
const breath = 10 * time.Millisecond

// refill fills the pool after a claim: what has failed before is tried again.
func (p *Pool) refill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed, p.died = nil, 0
	if p.filling || !p.missing() {
		return
	}
	p.filling = true
	p.working.Go(func() {
		select {
		case <-time.After(breath):
		case <-p.ctx.Done():
		}
		p.work()
	})
}

// fill makes what is missing, in the background and one at a time, until that fails.
func (p *Pool) fill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.filling || !p.missing() {
		return
	}
	p.filling = true
	p.working.Go(p.work)
}

// work makes instances as long as there is room for one.
func (p *Pool) work() {
	for p.wants() {
		if !p.goesOn(p.make(p.ctx)) {
			return
		}
	}
	p.goesOn(nil)
}

// missing is called with mu held.
func (p *Pool) missing() bool { return p.lacks() && p.failed == nil }

// goesOn notes how the last instance came out, and tells whether there is to be
// another one.
func (p *Pool) goesOn(err error) bool {
	p.tell(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.failed = err
	}
	p.filling = p.missing()
	return p.filling
}

// tell tells the engine's Logger what no call can.
func (p *Pool) tell(err error) {
	if err != nil && p.ctx.Err() == nil {
		log.G(p.ctx).WithError(err).Warnf("pool of warm instances of %s", p.template.ref)
	}
}

// Claim gives a container of the pool's image and Config, with c's own: created, not
// started, as New gives it. A warm instance becomes it; if none waits, because others
// were faster than the pool makes new ones, it is made anew, as by New. The pool makes
// another in the background, one at a time.
//
// Errors are those of New, for the command and the user; an instance to which one was
// told is not used again. Where making instances in the background has failed, that
// error is joined to the one of a claim which could not make its container either. A
// claim from a closed pool is ctor.ErrClosed.
func (p *Pool) Claim(ctx context.Context, c Claim) (_ *Container, err error) {
	cfg := c.over(p.template.cfg)
	defer func() {
		if err != nil {
			err = fmt.Errorf("claim container %q of %s: %w", c.Name, p.template.ref, err)
		}
	}()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	ctx, leave, err := p.template.in.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	defer p.refill()
	for {
		w, err := p.take()
		if err != nil {
			return nil, err
		}
		if w == nil {
			return p.fresh(ctx, cfg)
		}
		c, err := w.claim(ctx, cfg)
		if errors.Is(err, errUnfit) {
			continue
		}
		return c, engine.Cause(ctx, err)
	}
}

// fresh makes a container as New does.
func (p *Pool) fresh(ctx context.Context, cfg Config) (*Container, error) {
	failed := p.failure()
	b := p.template
	b.id, b.cfg = newID(), cfg
	c, err := b.make(ctx)
	if err != nil && failed != nil {
		err = errors.Join(err, fmt.Errorf("before, in the background: %w", failed))
	}
	return c, err
}

// failure is why the last instance could not be made, or did not stay.
func (p *Pool) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// Close throws the warm instances away; claimed containers go on. The engine's Close
// does it as well. A second Close waits for the first, and gives the same.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	for _, w := range p.idle {
		p.working.Go(func() { p.discard(w) })
	}
	p.idle = nil
	p.mu.Unlock()
	p.stop()
	p.working.Wait()
	p.template.in.Forget(p.key, p)
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.left...)
}

// discard throws a warm instance away.
func (p *Pool) discard(w *warm) {
	if err := w.undo.Run(); err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.left = append(p.left, err)
	}
}
