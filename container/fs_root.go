package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// roots guards the making of openRoots.
var roots sync.Mutex

// openRoot is the root of one container, which is opened when it is needed and
// held open for the next call. All Containers of the same one share it: its
// writable layer must not be mounted twice. It ends with the container's Close
// or the engine's.
type openRoot struct {
	life context.Context // ends with it
	end  context.CancelFunc
	turn chan struct{} // holds one while nobody opens it

	mu     sync.Mutex
	now    *heldRoot
	closed bool
}

// heldRoot is a root and how many calls use it.
type heldRoot struct {
	*rootfs.Root
	users int
	old   bool // another one has taken its place
}

// rootKey names the container's openRoot among what ends with the engine. The
// name alone may come to mean another container.
func (c *Container) rootKey() string {
	return fmt.Sprintf("root of %s of %d", c.ID(), c.record.CreatedAt.UnixNano())
}

// visit is a call's use of a container's root.
type visit struct {
	ctx  context.Context // ends also when the container is closed
	root *rootfs.Root
	over func() bool // tells whether it is closed
	end  func()
}

// visit begins a call that uses the container's root, as it is now.
func (c *Container) visit(ctx context.Context) (visit, error) {
	o, err := c.openRoots()
	if err != nil {
		return visit{}, err
	}
	h, err := o.get(ctx, c.openRoot)
	if err != nil {
		return visit{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(o.life, func() { cancel(fs.ErrClosed) })
	return visit{ctx, h.Root, func() bool { return o.life.Err() != nil }, func() {
		stop()
		cancel(nil)
		o.put(h)
	}}, nil
}

func (c *Container) openRoots() (*openRoot, error) {
	roots.Lock()
	defer roots.Unlock()
	if o, ok := c.e.Attached(c.rootKey()).(*openRoot); ok {
		return o, nil
	}
	o := &openRoot{turn: make(chan struct{}, 1)}
	o.turn <- struct{}{}
	o.life, o.end = context.WithCancel(context.Background())
	return o, c.e.Attach(c.rootKey(), o)
}

// forgetRoot ends what visit has begun.
func (c *Container) forgetRoot() {
	if o, ok := c.e.Attached(c.rootKey()).(*openRoot); ok {
		c.e.Forget(c.rootKey(), o)
		_ = o.Close()
	}
}

func (o *openRoot) get(ctx context.Context, open func(context.Context) (*rootfs.Root, error)) (*heldRoot, error) {
	for {
		if h, err := o.held(); h != nil || err != nil {
			return h, err
		}
		if err := o.renew(ctx, open); err != nil {
			return nil, err
		}
	}
}

// renew opens the root. It does not hold the lock meanwhile: Close does not
// wait for a runtime that hangs.
func (o *openRoot) renew(ctx context.Context, open func(context.Context) (*rootfs.Root, error)) error {
	select {
	case <-o.turn:
		defer func() { o.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if h, err := o.held(); h != nil || err != nil {
		o.put(h)
		return err // somebody else was faster
	}
	r, err := open(ctx)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return errors.Join(fs.ErrClosed, r.Close())
	}
	o.drop()
	o.now = &heldRoot{Root: r}
	return nil
}

// held gives the root that is open, if one is that still is what it was.
func (o *openRoot) held() (*heldRoot, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, fs.ErrClosed
	}
	if o.now == nil || o.now.Ended() {
		return nil, nil
	}
	o.now.users++
	return o.now, nil
}

func (o *openRoot) put(h *heldRoot) {
	if h == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if h.users--; h.users == 0 && h.old {
		h.Root.Close()
	}
}

// drop lets the root go, at once if nobody uses it.
func (o *openRoot) drop() {
	if h := o.now; h != nil {
		o.now, h.old = nil, true
		if h.users == 0 {
			h.Root.Close()
		}
	}
}

// Close ends the root, also for calls that use it.
func (o *openRoot) Close() error {
	o.end()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.now == nil {
		o.closed = true
		return nil
	}
	o.closed = true
	return o.now.Root.Close()
}

// openRoot opens the root as the container's first process has it, or, if that
// has ended, the writable layer over the image.
func (c *Container) openRoot(ctx context.Context) (*rootfs.Root, error) {
	process, err := c.pidfd(ctx)
	if err == nil {
		var r *rootfs.Root
		if r, err = c.root(process); err == nil {
			return r, nil
		}
	}
	if !errors.Is(err, unix.ESRCH) {
		return nil, err
	}
	// The shim goes on to have the layer mounted, but nobody uses that mount.
	mounts, err := c.e.Client.SnapshotService(c.record.Snapshotter).Mounts(ctx, c.record.SnapshotKey)
	if err != nil {
		return nil, err
	}
	return rootfs.OpenWritable(mounts, c.e.Dir(c.ID()))
}
