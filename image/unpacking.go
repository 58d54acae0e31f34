package image

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/engine"
)

// unpacking is the snapshotter as the unpacker of one pull sees it. The unpacker
// begins a layer and then waits for its blob. Here a layer is begun only when its
// blob is there; so pulls of the same layer take turns, find it done, and none
// waits for the registry of another.
type unpacking struct {
	snapshots.Snapshotter
	in       *engine.Engine
	arrivals *arrivals

	mu    sync.Mutex
	turns map[string]string // by the key of a layer that is being unpacked
}

// blobLabel says of which blob a layer is. It is for unpacking alone.
const blobLabel = "containerd.io/snapshot/ctor.blob"

// announced gives the parts of a manifest with what unpacking needs to know of
// layers, and nothing else that the image says of them.
func announced(parts []ocispec.Descriptor) []ocispec.Descriptor {
	parts = slices.Clone(parts)
	for n, d := range parts {
		if images.IsLayerType(d.MediaType) {
			parts[n].Annotations = map[string]string{blobLabel: d.Digest.String()}
		}
	}
	return parts
}

// unannounced removes what announced has added.
func unannounced(i *snapshots.Info) error {
	i.Labels = maps.Clone(i.Labels)
	delete(i.Labels, blobLabel)
	return nil
}

// Prepare implements snapshots.Snapshotter.
func (u *unpacking) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	var info snapshots.Info
	for _, o := range opts {
		if err := o(&info); err != nil {
			return nil, err
		}
	}
	chain, blob := info.Labels[snapshots.LabelSnapshotRef], info.Labels[blobLabel]
	if _, err := u.Snapshotter.Stat(ctx, chain); errdefs.IsNotFound(err) {
		if err := u.arrivals.wait(ctx, digest.Digest(blob)); err != nil {
			return nil, err
		}
		// A pull that names another blob for this layer takes a turn of its own.
		if err := u.take(ctx, key, "unpack "+chain+" of "+blob); err != nil {
			return nil, err
		}
	}
	mounts, err := u.Snapshotter.Prepare(ctx, key, parent, append(opts[:len(opts):len(opts)], unannounced)...)
	if err != nil {
		u.end(key)
	}
	return mounts, err
}

// Commit implements snapshots.Snapshotter.
func (u *unpacking) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	defer u.end(key)
	return u.Snapshotter.Commit(ctx, name, key, append(opts[:len(opts):len(opts)], unannounced)...)
}

// Remove implements snapshots.Snapshotter.
func (u *unpacking) Remove(ctx context.Context, key string) error {
	defer u.end(key)
	return u.Snapshotter.Remove(ctx, key)
}

func (u *unpacking) take(ctx context.Context, key, turn string) error {
	if err := u.in.Lock(ctx, turn); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.turns[key] = turn
	return nil
}

// end ends the turn that a layer has, if it has any.
func (u *unpacking) end(key string) {
	u.mu.Lock()
	turn := u.turns[key]
	delete(u.turns, key)
	u.mu.Unlock()
	if turn != "" {
		u.in.Unlock(turn)
	}
}

// arrivals tell which blobs are in the store, or why one is not. The zero value
// is ready.
type arrivals struct {
	mu     sync.Mutex
	all    map[digest.Digest]*arrival
	failed error // of the first that will not come
}

type arrival struct {
	once sync.Once
	told chan struct{}
	err  error // when told is closed
}

func (a *arrivals) of(d digest.Digest) *arrival {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all == nil {
		a.all = map[digest.Digest]*arrival{}
	}
	if a.all[d] == nil {
		a.all[d] = &arrival{told: make(chan struct{})}
	}
	return a.all[d]
}

// tell tells of a blob, the first time.
func (a *arrivals) tell(d digest.Digest, err error) {
	one := a.of(d)
	one.once.Do(func() {
		one.err = err
		close(one.told)
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed == nil {
		a.failed = err
	}
}

// cause is why a pull failed with err: where a blob did not come, that is said
// in better words than the unpacker's.
func (a *arrivals) cause(err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil || a.failed == nil || errors.Is(a.failed, context.Canceled) {
		return err
	}
	return a.failed
}

func (a *arrivals) wait(ctx context.Context, d digest.Digest) error {
	one := a.of(d)
	select {
	case <-one.told:
		return one.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
