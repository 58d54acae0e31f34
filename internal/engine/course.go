package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/packing"
	"github.com/ctorhq/ctor/internal/rootfs"
)

// course is one layer on its way into the snapshotter.
type course struct {
	m     *mason
	n     int
	chain string
	ready chan struct{} // closed when all is done that needs no layer below
	err   error

	there    bool // it is in the snapshotter
	unpacked bool // but for what needs those below
	turn     *Turn
	key      string // of its snapshot; "": there is none
	mounts   []mount.Mount
	draft    *rootfs.Draft // nil: it is the lowest, which has nothing to be joined with
}

func (c *course) blob() ocispec.Descriptor { return c.m.ls.Blobs[c.n] }

func (c *course) diffID() digest.Digest { return c.m.ls.DiffIDs[c.n] }

// failed says of which layer an error is.
func (c *course) failed(err error) error {
	return fmt.Errorf("unpack layer %s: %w", c.blob().Digest, err)
}

// build does all that needs no layer below.
func (c *course) build(ctx context.Context) error {
	if c.there || !c.m.e.Backend.Drafts(c.m.e.Snapshotter) {
		if err := c.m.fetch(ctx, c.blob(), nil); err != nil || c.there {
			return err
		}
		return c.take(ctx)
	}
	// Whoever has the turn may have to wait for a registry: this one is asked
	// anyway.
	if turn := c.m.e.Try(c.name()); turn != nil {
		c.hold(turn)
		if err := c.begin(ctx, ""); err != nil || c.there {
			return errors.Join(err, c.m.fetch(ctx, c.blob(), nil))
		}
		if err := c.stream(ctx); !errors.Is(err, errGap) {
			return err
		}
	} else {
		if err := c.m.fetch(ctx, c.blob(), nil); err != nil {
			return err
		}
		if err := c.take(ctx); err != nil {
			return err
		}
		if err := c.begin(ctx, ""); err != nil || c.there {
			return err
		}
	}
	return c.fromStore(ctx)
}

// stream has the blob fetched, and unpacks it meanwhile. If it does not arrive in
// one piece, the error is errGap, and all of it is in the store.
func (c *course) stream(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	tap := newTap(ctx, c.blob().Size)
	fetched := make(chan error, 1)
	go func() {
		err := c.m.fetch(ctx, c.blob(), tap)
		tap.end(err)
		fetched <- err
	}()
	if !tap.begun() {
		if err := <-fetched; err != nil {
			return err
		}
		return errGap
	}
	err := c.draw(ctx, tap)
	if err != nil && !errors.Is(err, errGap) && !errors.Is(err, rootfs.ErrBelow) && tap.missing() > worthwhile {
		stop()
		return errors.Join(err, ignored(<-fetched))
	}
	// What could not be unpacked may not have been the blob.
	if ferr := <-fetched; ferr != nil {
		return ferr
	}
	if errors.Is(err, errGap) {
		if err := c.remove(); err != nil {
			return err
		}
		if err := c.begin(ctx, ""); err != nil || c.there {
			return err
		}
		return errGap
	}
	return c.orInOrder(err)
}

// worthwhile is how much of a layer that can't be unpacked is still fetched, to
// tell whether it is the registry's fault or the image's.
const worthwhile = 64 << 20

func ignored(error) error { return nil }

// fromStore unpacks a blob that is in the store.
func (c *course) fromStore(ctx context.Context) error {
	ra, err := c.m.e.Client.ContentStore().ReaderAt(ctx, c.blob())
	if err != nil {
		return c.failed(err)
	}
	return c.orInOrder(c.draw(ctx, stored{content.NewReader(ra), ra}))
}

type stored struct {
	io.Reader
	io.Closer
}

// orInOrder takes care of a layer that can't be unpacked before those below.
func (c *course) orInOrder(err error) error {
	if errors.Is(err, rootfs.ErrBelow) {
		return c.remove()
	}
	return err
}

// draw unpacks the layer from its blob, which it closes.
func (c *course) draw(ctx context.Context, blob io.ReadCloser) (err error) {
	defer func() {
		if err != nil {
			err = c.failed(err)
		}
	}()
	in := &meter{from: blob, read: func(n int, all int64) {
		c.m.advance(n)
		c.progress(all)
	}}
	tar, err := packing.Open(ctx, c.blob().MediaType, in, nil)
	if err != nil {
		blob.Close()
		return err
	}
	defer tar.Close()
	defer blob.Close() // first: tar may be reading
	files := &meter{from: tar, read: func(n int, _ int64) { c.m.written(c.mounts, n) }}
	if c.n == 0 {
		err = rootfs.Apply(ctx, c.mounts, files)
	} else {
		c.draft, err = rootfs.NewDraft(ctx, c.mounts[0].Source, files)
	}
	if err != nil {
		return err
	}
	d, err := tar.Rest()
	if err != nil {
		return err
	}
	if err := c.check(d); err != nil {
		return err
	}
	c.unpacked = true
	return nil
}

func (c *course) check(d ocispec.Descriptor) error {
	if d.Digest != c.diffID() {
		return fmt.Errorf("wrong diff id %s, the image's configuration says %s: %w", d.Digest, c.diffID(), errdefs.ErrInvalidArgument)
	}
	return nil
}

func (c *course) progress(n int64) {
	if c.m.ls.Progress != nil {
		c.m.ls.Progress(c.blob(), n)
	}
}

// joinBelow joins the layer with those below, which have all been joined.
func (c *course) joinBelow(ctx context.Context) (err error) {
	if c.n > 0 {
		if c.m.below == nil {
			if c.m.below, err = c.m.directories(ctx, c.m.courses[c.n-1].chain); err != nil {
				return err
			}
		}
		if err := c.draft.Join(ctx, c.m.below); err != nil {
			return errors.Join(err, c.remove())
		}
	}
	c.m.below = append([]string{c.mounts[0].Source}, c.m.below...)
	return nil
}

// inOrder unpacks the layer on those below it, which are there.
func (c *course) inOrder(ctx context.Context) error {
	parent := ""
	if c.n > 0 {
		parent = c.m.courses[c.n-1].chain
	}
	c.m.below = nil
	if err := c.begin(ctx, parent); err != nil || c.there {
		return err
	}
	d, err := c.m.e.Client.DiffService().Apply(ctx, c.blob(), c.mounts, diff.WithSyncFs(true),
		diff.WithProgress(func(_ ocispec.Descriptor, n int64) { c.progress(n) }))
	if err == nil {
		err = c.check(d)
	}
	if err != nil {
		return c.failed(err)
	}
	return c.commit(ctx)
}

// begin makes the layer's snapshot, unless the layer is there.
func (c *course) begin(ctx context.Context, parent string) error {
	key := fmt.Sprintf(snapshots.UnpackKeyFormat, rand.Text(), c.chain)
	mounts, err := c.m.sn.Prepare(ctx, key, parent, snapshots.WithLabels(c.labels()))
	if errdefs.IsAlreadyExists(err) {
		c.there = true
		return nil
	}
	if err != nil {
		return c.failed(err)
	}
	c.key, c.mounts = key, mounts
	return nil
}

// labels are those that containerd gives a layer.
func (c *course) labels() map[string]string {
	all := map[string]string{snapshots.LabelSnapshotRef: c.chain, snapshots.LabelSnapshotDiffID: c.diffID().String()}
	if c.n > 0 {
		all["containerd.io/snapshot/parent-chain-id"] = c.m.courses[c.n-1].chain
	}
	return all
}

// commit gives the layer its name. It may have got it from another call.
func (c *course) commit(ctx context.Context) error {
	opts := []snapshots.Opt{snapshots.WithLabels(c.labels())}
	if c.draft != nil {
		opts = append(opts, snapshots.WithParent(c.m.courses[c.n-1].chain))
	}
	err := c.m.sn.Commit(ctx, c.chain, c.key, opts...)
	if errdefs.IsAlreadyExists(err) {
		c.m.below = nil
		err = c.remove()
	}
	if err != nil {
		return c.failed(err)
	}
	c.key = ""
	// It says what the blob unpacks to, which has been seen.
	info := content.Info{Digest: c.blob().Digest, Labels: map[string]string{labels.LabelUncompressed: c.diffID().String()}}
	if _, err := c.m.e.Client.ContentStore().Update(ctx, info, "labels."+labels.LabelUncompressed); err != nil {
		return c.failed(err)
	}
	c.release()
	return nil
}

// name is that of the turn to unpack the layer. A call that names another blob for
// it takes a turn of its own.
func (c *course) name() string { return "unpack " + c.chain + " of " + c.blob().Digest.String() }

// take waits for the turn.
func (c *course) take(ctx context.Context) error {
	turn, err := c.m.e.Take(ctx, c.name(), Patience)
	if err == nil {
		c.hold(turn)
	}
	return err
}

func (c *course) hold(t *Turn) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.turn = t
	c.m.turns[t] = struct{}{}
}

func (c *course) release() {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if c.turn != nil {
		delete(c.m.turns, c.turn)
		c.turn.End()
		c.turn = nil
	}
}

// remove removes a snapshot that was not committed.
func (c *course) remove() error {
	if c.key == "" {
		return nil
	}
	key := c.key
	c.key, c.draft, c.unpacked = "", nil, false
	return c.m.e.RemoveSnapshot(key)
}

// end undoes what is left of a layer that was not committed.
func (c *course) end() error {
	defer c.release()
	return c.remove()
}

// meter tells how much was read.
type meter struct {
	from io.Reader
	all  int64
	read func(n int, all int64)
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.all += int64(n)
	m.read(n, m.all)
	return n, err
}
