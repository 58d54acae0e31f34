package reach

import (
	"context"
	"errors"
	"io/fs"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// files are the root of one container, which is opened when it is needed and
// held open for the next call. All doors to the container share it: its writable
// layer must not be mounted twice. It ends with the Close of one of them or of
// the engine.
type files struct {
	life context.Context // ends with it
	end  context.CancelFunc
	turn chan struct{} // holds one while no call opens it

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

func newFiles() *files {
	f := &files{turn: make(chan struct{}, 1)}
	f.turn <- struct{}{}
	f.life, f.end = context.WithCancel(context.Background())
	return f
}

// Visit is a use of a container's files.
type Visit struct {
	Context context.Context // ends also when the files do
	Root    *rootfs.Root
	Over    func() bool // tells whether the files are closed
	End     func()
}

// Visit implements Door.
func (d *door) Visit(ctx context.Context) (Visit, error) {
	f, err := d.here.of(d.c.ID())
	if err != nil {
		return Visit{}, err
	}
	h, err := f.get(ctx, d.open)
	if err != nil {
		return Visit{}, err
	}
	ctx, cancel := f.within(ctx)
	return Visit{ctx, h.Root.In(ctx), func() bool { return f.life.Err() != nil }, func() {
		cancel()
		f.put(h)
	}}, nil
}

// Within implements Door.
func (d *door) Within(ctx context.Context) (context.Context, func(), error) {
	f, err := d.here.of(d.c.ID())
	if err != nil {
		return nil, nil, err
	}
	ctx, end := f.within(ctx)
	return ctx, end, nil
}

// Still implements Door.
func (d *door) Still(ctx context.Context, do func(context.Context) error) error {
	f, err := d.here.of(d.c.ID())
	if err != nil {
		return err
	}
	select {
	case <-f.turn:
		defer func() { f.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := f.expel(); err != nil {
		return err
	}
	ctx, cancel := f.within(ctx)
	defer cancel()
	return do(ctx)
}

// within gives a context that ends also when the files do.
func (f *files) within(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(f.life, func() { cancel(fs.ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// expel closes the root, also for calls that use it. The next is opened when there is a
// turn for it.
func (f *files) expel() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	if h := f.now; h != nil {
		f.drop()
		h.Root.Close() // an error: drop has done it
	}
	return nil
}

func (f *files) get(ctx context.Context, open func(context.Context) (*rootfs.Root, error)) (*heldRoot, error) {
	for {
		if h, err := f.held(); h != nil || err != nil {
			return h, err
		}
		if err := f.renew(ctx, open); err != nil {
			return nil, err
		}
	}
}

// renew opens the root. It does not hold the lock meanwhile: Close does not
// wait for a runtime that hangs.
func (f *files) renew(ctx context.Context, open func(context.Context) (*rootfs.Root, error)) error {
	select {
	case <-f.turn:
		defer func() { f.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if h, err := f.held(); h != nil || err != nil {
		f.put(h)
		return err // another call was faster
	}
	r, err := open(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return errors.Join(fs.ErrClosed, r.Close())
	}
	f.drop()
	f.now = &heldRoot{Root: r}
	return nil
}

// held gives the root that is open, if one is that still is what it was.
func (f *files) held() (*heldRoot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, fs.ErrClosed
	}
	if f.now == nil || f.now.Ended() {
		return nil, nil
	}
	f.now.users++
	return f.now, nil
}

func (f *files) put(h *heldRoot) {
	if h == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if h.users--; h.users == 0 && h.old {
		h.Root.Close()
	}
}

// drop lets the root go, at once if no call uses it.
func (f *files) drop() {
	if h := f.now; h != nil {
		f.now, h.old = nil, true
		if h.users == 0 {
			h.Root.Close()
		}
	}
}

// Close ends the root, also for calls that use it.
func (f *files) Close() error {
	f.end()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || f.now == nil {
		f.closed = true
		return nil
	}
	f.closed = true
	return f.now.Root.Close()
}

// open opens the root as the container's first process has it, or, if that has
// ended, the writable layer over the image.
func (d *door) open(ctx context.Context) (*rootfs.Root, error) {
	process, err := d.first(ctx)
	if err == nil {
		var r *rootfs.Root
		if r, err = d.root(ctx, process); err == nil {
			return r, nil
		}
	}
	if !errors.Is(err, unix.ESRCH) {
		return nil, err
	}
	// The shim goes on to have the layer mounted, but nothing uses that mount.
	mounts, err := d.c.Layer(ctx)
	if err != nil {
		return nil, err
	}
	return rootfs.OpenWritable(mounts, d.c.Dir())
}
