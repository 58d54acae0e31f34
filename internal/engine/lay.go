package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// Concurrent is how many blobs of an image are fetched, and layers unpacked, at a
// time, and how many connections that takes. More of them than processors would wait for
// one another, each with what memory it takes to unpack a layer.
var Concurrent = min(4, max(3, runtime.GOMAXPROCS(0)))

// Patience is how long a registry may send next to nothing of a blob before
// another call that waits for the same blob asks for it as well.
const Patience = 5 * time.Second

// Layers are an image's, the lowest first: the blobs, and the digests of what is
// packed in them.
type Layers struct {
	Blobs   []ocispec.Descriptor
	DiffIDs []digest.Digest
	Config  digest.Digest // of the image's configuration, which keeps them
	Limits  rootfs.Limits // of each

	// Fetch brings a blob into the store, unless it is there, and passes on what
	// arrives. nil: all blobs are in the store.
	Fetch func(ctx context.Context, blob ocispec.Descriptor, to *Tap) error

	// Progress is told how much of a blob was unpacked. nil: no one asked.
	Progress func(blob ocispec.Descriptor, n int64)
}

// Lay fetches an image's layers and lays them down in the snapshotter, for as
// long as the lease in ctx. Layers are unpacked while they arrive, whatever their
// order, where the backend can do that, and joined in their order. None has its
// name before all of it is on the disk. A containerd that runs knows no limits.
func (e *Engine) Lay(ctx context.Context, ls Layers) (err error) {
	if len(ls.Blobs) != len(ls.DiffIDs) {
		return fmt.Errorf("number of layers and diffIDs don't match: %d != %d: %w", len(ls.Blobs), len(ls.DiffIDs), errdefs.ErrInvalidArgument)
	}
	if len(ls.Blobs) == 0 {
		return nil
	}
	for _, d := range ls.DiffIDs {
		if err := d.Validate(); err != nil {
			return fmt.Errorf("wrong diff id %.80q: %w: %w", d, err, errdefs.ErrInvalidArgument)
		}
	}
	ctx, cancel := context.WithCancelCause(rootfs.Limit(ctx, ls.Limits))
	m := &mason{e: e, ls: ls, sn: e.Client.SnapshotService(e.Snapshotter), fail: cancel, blobs: map[digest.Digest]*delivery{}, turns: map[*Turn]struct{}{}}
	for n, chain := range identity.ChainIDs(slices.Clone(ls.DiffIDs)) {
		m.courses = append(m.courses, &course{m: m, n: n, chain: chain.String(), ready: make(chan struct{})})
	}
	defer func() {
		cancel(nil)
		m.work.Wait()
		for _, c := range m.courses {
			err = errors.Join(err, c.end())
		}
	}()
	m.work.Go(func() { m.start(ctx) })
	if err = m.join(ctx); err == nil {
		err = m.keep(ctx)
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		err = cause // another layer's error has ended this one
	}
	return err
}

// mason lays the layers of one image.
type mason struct {
	e       *Engine
	ls      Layers
	sn      snapshots.Snapshotter
	courses []*course
	fail    context.CancelCauseFunc
	below   []string // the directories of the layers that are joined, the uppermost first; nil: not known

	mu    sync.Mutex
	blobs map[digest.Digest]*delivery
	turns map[*Turn]struct{}

	work     sync.WaitGroup // all that is done beside join
	unsynced atomic.Int64   // bytes that were written since the last sync began
	syncing  atomic.Bool
}

// delivery is the fetch of a blob, which an image may list more than once.
type delivery struct {
	done chan struct{}
	err  error // when done is closed
}

// start begins one layer after the other, a few at a time.
func (m *mason) start(ctx context.Context) {
	there := m.laid(ctx)
	slots := semaphore.NewWeighted(int64(Concurrent))
	for n, c := range m.courses {
		c.there = n < there
		if err := slots.Acquire(ctx, 1); err != nil {
			c.err = context.Cause(ctx)
			close(c.ready)
			continue
		}
		m.work.Go(func() {
			defer close(c.ready)
			defer slots.Release(1)
			if c.err = c.build(ctx); c.err != nil {
				m.fail(c.err) // the others need not go on
			}
		})
	}
}

// laid tells how many layers are there if all are, since the uppermost keeps
// those below; it is there as a rule, or none.
func (m *mason) laid(ctx context.Context) int {
	top := m.courses[len(m.courses)-1].chain
	if _, err := m.sn.Stat(ctx, top); err != nil {
		return 0
	}
	if m.e.HoldSnapshot(ctx, m.e.Snapshotter, top) != nil {
		return 0
	}
	if _, err := m.sn.Stat(ctx, top); err != nil {
		return 0
	}
	return len(m.courses)
}

// join joins the layers in their order, as soon as they are ready. Those that are
// ready at the same time are brought to the disk at once.
func (m *mason) join(ctx context.Context) error {
	for n := 0; n < len(m.courses); {
		c := m.courses[n]
		<-c.ready
		if c.err != nil {
			return c.err
		}
		switch {
		case c.there:
			m.below = nil
			n++
		case !c.unpacked:
			if err := c.inOrder(ctx); err != nil {
				return err
			}
			n++
		default:
			joined, err := m.joinDrafts(ctx, m.courses[n:])
			if err != nil {
				return err
			}
			n += joined
		}
	}
	return nil
}

// joinDrafts joins as many drafts as are ready, and tells how many.
func (m *mason) joinDrafts(ctx context.Context, cs []*course) (int, error) {
	var run []*course
	for _, c := range cs {
		select {
		case <-c.ready:
		default:
			c = nil
		}
		if c == nil || c.err != nil || c.there || !c.unpacked {
			break
		}
		err := c.joinBelow(ctx)
		if errors.Is(err, rootfs.ErrBelow) {
			break // it is the next, and goes another way
		}
		if err != nil {
			return 0, c.failed(err)
		}
		run = append(run, c)
	}
	if len(run) == 0 {
		return 0, nil
	}
	if err := rootfs.Sync(run[0].mounts); err != nil {
		return 0, run[0].failed(err)
	}
	for _, c := range run {
		if err := c.commit(ctx); err != nil {
			return 0, err
		}
	}
	return len(run), nil
}

// directories are those of a layer and all below it, the uppermost first.
func (m *mason) directories(ctx context.Context, chain string) (_ []string, err error) {
	key := "ctor-below-" + rand.Text()
	mounts, err := m.sn.View(ctx, key, chain)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.e.RemoveSnapshot(key)) }()
	return rootfs.Directories(mounts), nil
}

// advance tells those who wait for a turn of this image's that it goes on: what
// is unpacked may still wait for a layer below.
func (m *mason) advance(bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for t := range m.turns {
		t.Advance(bytes)
	}
}

// syncEvery is how many bytes of files are written before they are on their way
// to the disk. The last sync, which layers wait for, then finds little to do.
const syncEvery = 64 << 20

// written tells of bytes that were written to files of a layer.
func (m *mason) written(mounts []mount.Mount, bytes int) {
	if m.unsynced.Add(int64(bytes)) < syncEvery || !m.syncing.CompareAndSwap(false, true) {
		return
	}
	m.unsynced.Store(0)
	m.work.Go(func() {
		defer m.syncing.Store(false)
		_ = rootfs.Sync(mounts) // the last one tells
	})
}

// keep has the image's configuration keep its layers.
func (m *mason) keep(ctx context.Context) error {
	if m.ls.Config == "" {
		return nil
	}
	label := "containerd.io/gc.ref.snapshot." + m.e.Snapshotter
	_, err := m.e.Client.ContentStore().Update(ctx, content.Info{
		Digest: m.ls.Config, Labels: map[string]string{label: m.courses[len(m.courses)-1].chain},
	}, "labels."+label)
	return err
}

// fetch brings a blob into the store, once.
func (m *mason) fetch(ctx context.Context, blob ocispec.Descriptor, to *Tap) error {
	if m.ls.Fetch == nil {
		return nil
	}
	m.mu.Lock()
	d, others := m.blobs[blob.Digest]
	if !others {
		d = &delivery{done: make(chan struct{})}
		m.blobs[blob.Digest] = d
	}
	m.mu.Unlock()
	if !others {
		d.err = m.ls.Fetch(ctx, blob, to)
		close(d.done)
	}
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
