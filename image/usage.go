package image

import (
	"context"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/record"
)

// Usage is what the images of a store take up on the disk, in bytes: what they are
// stored as, which is what a registry has, and what is unpacked of it.
type Usage struct {
	// Images are the names in the store, in their order.
	Images []ImageUsage

	// Total is what all images take up. What several have counts once, so it is less
	// than the sum of their sizes.
	Total int64

	// Other is what no image has: what is on its way, what pulls that were cut off
	// have left for the next, and the layers of containers whose image is gone.
	Other int64
}

// ImageUsage is what one name takes up.
type ImageUsage struct {
	Ref    string        // the full name
	Index  digest.Digest // of what the name stands for
	Size   int64         // bytes of all that the image has, of all platforms
	Shared int64         // of them those that other names have as well: the rest is free when this one goes
	Used   int           // how many containers were made from it
}

// DiskUsage tells what images take up, by name, and what they share. What containers
// have written is not theirs. It counts at one moment; what is removed meanwhile may
// count or not.
func DiskUsage(ctx context.Context, e *ctor.Engine) (_ Usage, err error) {
	defer wrap(&err, "disk usage of images", "")
	in := engine.Of(e)
	ctx, leave, err := in.Enter(ctx)
	if err != nil {
		return Usage{}, err
	}
	defer leave()
	u, err := diskUsage(ctx, in)
	return u, engine.Cause(ctx, err)
}

func diskUsage(ctx context.Context, e *engine.Engine) (u Usage, err error) {
	records, err := e.Client.ImageService().List(ctx)
	if err != nil {
		return u, err
	}
	v, err := takeInventory(ctx, e)
	if err != nil {
		return u, err
	}
	uses, err := usesOf(ctx, e)
	if err != nil {
		return u, err
	}
	all := partSet{}
	names := map[part]int{} // that have a part
	sets := make([]partSet, len(records))
	for n, rec := range records {
		sets[n] = v.of(rec)
		for p := range sets[n] {
			all[p] = struct{}{}
			names[p]++
		}
	}
	for n, rec := range records {
		i := ImageUsage{Ref: rec.Name, Index: rec.Target.Digest, Used: uses.of(rec.Name, sets[n])}
		for p := range sets[n] {
			size, err := v.sizeOf(ctx, p)
			if err != nil {
				return u, err
			}
			if i.Size += size; names[p] > 1 {
				i.Shared += size
			}
		}
		u.Images = append(u.Images, i)
	}
	slices.SortFunc(u.Images, func(a, b ImageUsage) int { return strings.Compare(a.Ref, b.Ref) })
	if u.Total, err = v.size(ctx, all); err != nil {
		return u, err
	}
	u.Other, err = v.size(ctx, v.stored().without(all))
	return u, err
}

// Size is how many bytes of the disk all that the image has takes up, as it is stored
// and unpacked, shared with others or not; see [DiskUsage]. Of an index it counts every
// platform in the store. It is 0 of an image that is gone.
func (i *Image) Size(ctx context.Context) (_ int64, err error) {
	defer wrap(&err, "size of image", i.Ref())
	ctx, leave, err := i.e.Enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	v, err := takeInventory(ctx, i.e)
	if err != nil {
		return 0, engine.Cause(ctx, err)
	}
	n, err := v.size(ctx, v.reach(partSet{}, contentPart(i.target.Digest)))
	return n, engine.Cause(ctx, err)
}

// uses are the images that containers were made from: a name, and the digest of a
// manifest, for each.
type uses []record.Record

func usesOf(ctx context.Context, e *engine.Engine) (uses, error) {
	list, err := e.Client.ContainerService().List(ctx)
	if err != nil {
		return nil, err
	}
	var all uses
	for _, c := range list {
		r, ok := record.Of(c)
		if !ok {
			r.Ref = c.Image // of another client of a shared containerd
		}
		all = append(all, r)
	}
	return all, nil
}

// of counts the containers of an image: of its name, or of a manifest that it has.
func (u uses) of(ref string, set partSet) (n int) {
	for _, r := range u {
		_, has := set[contentPart(digest.Digest(r.Image))]
		if has || r.Image == "" && r.Ref == ref {
			n++
		}
	}
	return n
}
