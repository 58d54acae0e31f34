package container

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/journal"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/links"
	"github.com/ctorhq/ctor/internal/reach"
	"github.com/ctorhq/ctor/internal/record"
	"github.com/ctorhq/ctor/internal/restart"
	"github.com/ctorhq/ctor/internal/spec"
)

// Container is an instance of an image. It is safe for use by any number of
// goroutines.
type Container struct {
	ctor   *ctor.Engine
	e      *engine.Engine
	record containers.Container
	about  record.Record                 // what the record says; but for name and image, as it was made
	name   atomic.Pointer[string]        // as far as it is known here
	origin atomic.Pointer[engine.Origin] // the image that it is an instance of
	now    atomic.Pointer[life.Life]     // of the first process; see life

	journal *journal.Journal // of its lives
	mender  restart.Mender   // of its restart policy

	stdio    engine.Stdio                  // what the program has of its streams
	starting sync.Mutex                    // held while a life begins, and while all of it ends
	outline  func() (*spec.Outline, error) // of its configuration
	handed   bool                          // its streams are a command's
	passing  sync.Mutex                    // held while the runtime lets go of a life, and until the next one
	past     life.Life                     // that the runtime has let go of; guarded by passing
	door     reach.Door
	root     []mount.Mount // of Over; nil: a snapshot's
	overfull atomic.Bool   // this program has ended its life, which had too much on the disk
	links    *links.Links
	commands life.Commands

	closing sync.Once
	ending  atomic.Bool        // Close or Remove has begun
	closed  context.Context    // ends after it
	close   context.CancelFunc // of closed
	err     error              // of it
}

// Get finds a container by its id or its name. An attached container of this
// engine is the same *Container that New gave. One that does not exist is
// ctor.ErrNotFound.
func Get(ctx context.Context, e *ctor.Engine, idOrName string) (*Container, error) {
	in := engine.Of(e)
	ctx, leave, err := in.Enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("get container %q: %w", idOrName, err)
	}
	defer leave()
	r, err := in.Find(ctx, idOrName)
	var c *Container
	if err == nil {
		c, err = found(ctx, e, r)
	}
	if errdefs.IsNotFound(err) {
		err = fmt.Errorf("no such container: %w", errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("get container %q: %w", idOrName, engine.Cause(ctx, err))
	}
	return c, nil
}

// List gives all containers of the engine's namespace that this package made,
// running or not, in the order of their names.
func List(ctx context.Context, e *ctor.Engine) ([]*Container, error) {
	in := engine.Of(e)
	ctx, leave, err := in.Enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	defer leave()
	records, err := in.Client.ContainerService().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", engine.Cause(ctx, err))
	}
	var list []*Container
	for _, r := range records {
		if _, ours := record.Of(r); !ours {
			continue
		}
		c, err := found(ctx, e, r)
		if errdefs.IsNotFound(err) {
			continue // it went away meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("list containers: %s: %w", r.ID, engine.Cause(ctx, err))
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *Container) int {
		return cmp.Or(cmp.Compare(a.Name(), b.Name()), cmp.Compare(a.ID(), b.ID()))
	})
	return list, nil
}

// found gives the Container of a record. One that is being made or deleted is
// not found: it has an owner, but not all it needs.
func found(ctx context.Context, e *ctor.Engine, r containers.Container) (*Container, error) {
	in := engine.Of(e)
	if c, ok := in.Attached(r.ID).(*Container); ok {
		return c, nil
	}
	c := newContainer(e, in, r)
	owned := c.about.Owner != ""
	if owned && in.Backend.Sole() {
		return nil, errdefs.ErrNotFound
	}
	c.setLife(c.asked())
	_, err := c.first().Status(ctx)
	switch {
	case in.Backend.Gone(err) && !owned: // the host was restarted, or the shim or the program killed
	case errdefs.IsFailedPrecondition(err): // of another version: each call will say so
	case err != nil:
		return nil, err
	}
	if !c.kept() {
		return c, nil
	}
	// Its next life is this program's, so there is one Container of it.
	a, err := in.Share(r.ID, c)
	if err != nil {
		return nil, err
	}
	return a.(*Container), nil
}

// detached and kept tell to whom the container belongs; one that is neither is
// attached.
func (c *Container) detached() bool { return c.about.Detached }
func (c *Container) kept() bool     { return c.about.Kept }

func newContainer(e *ctor.Engine, in *engine.Engine, r containers.Container) *Container {
	c := &Container{ctor: e, e: in, record: r}
	c.closed, c.close = context.WithCancel(context.Background())
	c.about, _ = record.Of(r)
	c.name.Store(&c.about.Name)
	c.origin.Store(&engine.Origin{Ref: c.about.Ref, Image: c.about.Image})
	c.journal = journal.InMemory()
	if c.detached() || c.kept() {
		c.journal = journal.At(in.Dir(r.ID))
	}
	c.mender.Policy, c.mender.Journal = restart.Policy(c.about.Restart), c.journal
	c.outline = sync.OnceValues(func() (*spec.Outline, error) { return spec.Read(r.Spec) })
	c.door = in.Doors.Door(inside{c})
	c.links = links.New(in, linked{c}, c.about)
	return c
}

// ID names the container in its engine, and never changes: 16 random
// letters and digits.
func (c *Container) ID() string { return c.record.ID }

// Engine is the engine the container belongs to.
func (c *Container) Engine() *ctor.Engine { return c.ctor }

// enter begins a call on a container that is not closed.
func (c *Container) enter(ctx context.Context) (context.Context, func(), error) {
	ctx, leave, err := c.e.Enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	select {
	case <-c.closed.Done():
		leave()
		return nil, nil, reach.ErrClosed
	default:
		return ctx, leave, nil
	}
}

// call is what most methods have around them: it is a call on a container that is not
// closed, and ends with the engine.
func (c *Container) call(ctx context.Context, do func(context.Context) error) error {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return engine.Cause(ctx, do(ctx))
}

// during gives a context that ends when the container is closed, or the engine.
func (c *Container) during() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(c.e.Life())
	stop := context.AfterFunc(c.closed, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// wrap names the operation and the container.
func (c *Container) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s container %q: %w", op, c.Name(), err)
}
