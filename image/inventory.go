package image

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/ctorhq/ctor/internal/engine"
)

// inventory is all that the store has at one moment, and what keeps what: the
// labels by which containerd's collector goes.
type inventory struct {
	e         *engine.Engine
	content   map[digest.Digest]content.Info
	snapshots map[part]snapshots.Info
	sizes     map[part]int64 // of snapshots, as far as they were asked for
}

// part is something that takes up the disk: content by its digest, or a snapshot.
type part struct{ room, id string } // room is "content", or "snapshots/" and the snapshotter

// parts of an inventory.
type partSet map[part]struct{}

const (
	contentRoom  = "content"
	snapshotRoom = "snapshots/"

	rootLabel        = "containerd.io/gc.root"
	contentRefLabel  = "containerd.io/gc.ref.content"
	snapshotRefLabel = "containerd.io/gc.ref.snapshot."
)

func contentPart(d digest.Digest) part { return part{contentRoom, d.String()} }

// takeInventory looks at everything.
func takeInventory(ctx context.Context, e *engine.Engine) (*inventory, error) {
	v := &inventory{e: e, content: map[digest.Digest]content.Info{}, snapshots: map[part]snapshots.Info{}, sizes: map[part]int64{}}
	err := e.Client.ContentStore().Walk(ctx, func(i content.Info) error {
		v.content[i.Digest] = i
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list content: %w", err)
	}
	for _, name := range e.Snapshotters {
		err := e.Client.SnapshotService(name).Walk(ctx, func(_ context.Context, i snapshots.Info) error {
			v.snapshots[part{snapshotRoom + name, i.Name}] = i
			return nil
		})
		if err != nil && !errdefs.IsNotFound(err) { // of a snapshotter that this containerd has not
			return nil, fmt.Errorf("list snapshots: %w", err)
		}
	}
	return v, nil
}

// reach adds to a set what is there and kept by something.
func (v *inventory) reach(set partSet, from ...part) partSet {
	for next := from; len(next) > 0; {
		p := next[len(next)-1]
		next = next[:len(next)-1]
		if _, seen := set[p]; seen || !v.has(p) {
			continue
		}
		set[p] = struct{}{}
		next = append(next, v.keeps(p)...)
	}
	return set
}

func (v *inventory) has(p part) bool {
	if p.room == contentRoom {
		_, ok := v.content[digest.Digest(p.id)]
		return ok
	}
	_, ok := v.snapshots[p]
	return ok
}

// keeps lists what is there as long as a part is.
func (v *inventory) keeps(p part) (list []part) {
	if p.room != contentRoom {
		i := v.snapshots[p]
		if i.Parent != "" {
			list = append(list, part{p.room, i.Parent})
		}
		return list
	}
	for label, value := range v.content[digest.Digest(p.id)].Labels {
		if strings.HasPrefix(label, contentRefLabel) {
			list = append(list, part{contentRoom, value})
		} else if name, ok := strings.CutPrefix(label, snapshotRefLabel); ok {
			name, _, _ = strings.Cut(name, "/")
			list = append(list, part{snapshotRoom + name, value})
		}
	}
	return list
}

// held lists what is kept by something else than an image's name, and so are what
// containers stand on, and what calls under way are making. The leases in without
// don't count.
func (v *inventory) held(ctx context.Context, without map[string]bool) (list []part, err error) {
	for d, i := range v.content {
		if _, root := i.Labels[rootLabel]; root {
			list = append(list, contentPart(d))
		}
	}
	for p, i := range v.snapshots {
		if _, root := i.Labels[rootLabel]; root || i.Kind != snapshots.KindCommitted {
			list = append(list, p)
		}
	}
	m := v.e.Client.LeasesService()
	all, err := m.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list leases: %w", err)
	}
	for _, l := range all {
		if without[l.ID] {
			continue
		}
		held, err := v.leased(ctx, l)
		if err != nil {
			return nil, err
		}
		list = append(list, held...)
	}
	return list, nil
}

// leased lists what a lease keeps.
func (v *inventory) leased(ctx context.Context, l leases.Lease) (list []part, err error) {
	resources, err := v.e.Client.LeasesService().ListResources(ctx, l)
	if errdefs.IsNotFound(err) {
		return nil, nil // it has ended meanwhile
	}
	if err != nil {
		return nil, fmt.Errorf("lease %s: %w", l.ID, err)
	}
	for _, r := range resources {
		list = append(list, part{r.Type, r.ID})
	}
	return list, nil
}

// size adds up what parts take up on the disk.
func (v *inventory) size(ctx context.Context, set partSet) (n int64, err error) {
	for p := range set {
		one, err := v.sizeOf(ctx, p)
		if err != nil {
			return 0, err
		}
		n += one
	}
	return n, nil
}

func (v *inventory) sizeOf(ctx context.Context, p part) (int64, error) {
	if p.room == contentRoom {
		return v.content[digest.Digest(p.id)].Size, nil
	}
	if n, ok := v.sizes[p]; ok {
		return n, nil
	}
	u, err := v.e.Client.SnapshotService(strings.TrimPrefix(p.room, snapshotRoom)).Usage(ctx, p.id)
	if err != nil && !errdefs.IsNotFound(err) { // removed meanwhile
		return 0, fmt.Errorf("usage of %s: %w", p.id, err)
	}
	v.sizes[p] = u.Size
	return u.Size, nil
}

// without gives the parts of a set that are not in another.
func (s partSet) without(other partSet) partSet {
	rest := maps.Clone(s)
	maps.DeleteFunc(rest, func(p part, _ struct{}) bool {
		_, ok := other[p]
		return ok
	})
	return rest
}

// of is what an image's name keeps.
func (v *inventory) of(record images.Image) partSet {
	return v.reach(partSet{}, contentPart(record.Target.Digest))
}

// renew looks again at the content that an image's name keeps: more of an index may
// have been pulled meanwhile.
func (v *inventory) renew(ctx context.Context, record images.Image) error {
	cs := v.e.Client.ContentStore()
	seen := partSet{}
	for next := []part{contentPart(record.Target.Digest)}; len(next) > 0; {
		p := next[len(next)-1]
		next = next[:len(next)-1]
		if _, again := seen[p]; again || p.room != contentRoom {
			continue
		}
		seen[p] = struct{}{}
		i, err := cs.Info(ctx, digest.Digest(p.id))
		switch {
		case err == nil:
			v.content[i.Digest] = i
			next = append(next, v.keeps(p)...)
		case !errdefs.IsNotFound(err):
			return fmt.Errorf("content of %s: %w", record.Name, err)
		}
	}
	return nil
}

// stored are content and layers, of images or not.
func (v *inventory) stored() partSet {
	all := partSet{}
	for d := range v.content {
		all[contentPart(d)] = struct{}{}
	}
	for p, i := range v.snapshots {
		if i.Kind == snapshots.KindCommitted {
			all[p] = struct{}{}
		}
	}
	return all
}
