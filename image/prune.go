package image

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/events"
	"github.com/ctorhq/ctor/internal/reference"
)

// PruneOptions say what Prune removes. nil is the zero value, which removes all that
// no container was made from.
type PruneOptions struct {
	// Before keeps images whose name has come to mean them at that time or later. The
	// zero time keeps none.
	Before time.Time

	// Keep tells of an image that Prune would remove whether it is to stay, such as
	// by its name or its labels. nil keeps none.
	Keep func(*Image) bool

	// DryRun removes nothing, and reports what would be removed.
	DryRun bool
}

// Prune removes the names of images that no container was made from, whatever state
// the container is in, and what nothing else needs of them; also what pulls that were
// cut off have kept for the next one. Pulls and other calls that are under way are left
// alone: what they give their name after Prune has begun stays. What is in the store and
// no image, such as a signature, stays as long as what it is about.
//
// The report names what was removed, also along with an error. Its Bytes are of the
// names alone and of what pulls have left: what several images share counts if the
// last of them goes.
func Prune(ctx context.Context, e *ctor.Engine, o *PruneOptions) (_ ctor.PruneReport, err error) {
	defer wrap(&err, "prune images", "")
	if o == nil {
		o = &PruneOptions{}
	}
	in := engine.Of(e)
	ctx, leave, err := in.Enter(ctx)
	if err != nil {
		return ctor.PruneReport{}, err
	}
	defer leave()
	p := pruner{ctor: e, e: in, o: o}
	report, err := p.prune(ctx)
	return report, engine.Cause(ctx, err)
}

// pruner removes images.
type pruner struct {
	ctor *ctor.Engine
	e    *engine.Engine
	o    *PruneOptions
	v    *inventory
	uses uses
}

func (p *pruner) prune(ctx context.Context) (report ctor.PruneReport, err error) {
	records, err := p.e.Client.ImageService().List(ctx)
	if err != nil {
		return report, err
	}
	broken, err := p.e.BrokenPulls(ctx)
	if err != nil {
		return report, err
	}
	if p.v, err = takeInventory(ctx, p.e); err != nil {
		return report, err
	}
	if _, err := p.v.size(ctx, p.v.stored()); err != nil { // remembers sizes of what goes
		return report, err
	}
	if p.uses, err = usesOf(ctx, p.e); err != nil {
		return report, err
	}
	gone, kept, err := p.breakOff(ctx, broken)
	if err != nil {
		return report, err
	}
	for _, rec := range records {
		removed := false
		if err == nil {
			removed, err = p.remove(ctx, rec)
		}
		if !removed {
			kept = append(kept, contentPart(rec.Target.Digest))
			continue
		}
		report.Removed = append(report.Removed, rec.Name)
		p.v.reach(gone, contentPart(rec.Target.Digest))
	}
	slices.Sort(report.Removed)
	// What was removed is to be reported, come what may.
	ctx, cancel := p.e.Cleanup(ctx)
	defer cancel()
	if !p.o.DryRun {
		err = errors.Join(err, p.e.Collect(ctx))
	}
	bytes, serr := p.v.size(ctx, gone.without(p.v.reach(partSet{}, kept...)))
	report.Bytes = bytes
	return report, errors.Join(err, serr)
}

// breakOff lets go of what broken pulls have left, and gives that, and what else is
// kept by no name.
func (p *pruner) breakOff(ctx context.Context, broken []leases.Lease) (gone partSet, kept []part, err error) {
	gone = partSet{}
	without := map[string]bool{}
	for _, l := range broken {
		without[l.ID] = true
		held, err := p.v.leased(ctx, l)
		if err != nil {
			return nil, nil, err
		}
		p.v.reach(gone, held...)
		if p.o.DryRun {
			continue
		}
		if err := p.e.Client.LeasesService().Delete(ctx, l); err != nil && !errdefs.IsNotFound(err) {
			return nil, nil, err
		}
	}
	kept, err = p.v.held(ctx, without)
	return gone, kept, err
}

// unused tells of a name whether it is to be removed.
func (p *pruner) unused(ctx context.Context, rec images.Image) bool {
	if !p.o.Before.IsZero() && !rec.UpdatedAt.Before(p.o.Before) {
		return false
	}
	if p.uses.of(rec.Name, p.v.of(rec)) > 0 {
		return false
	}
	r, err := reference.Parse(rec.Name)
	if err != nil {
		return false
	}
	i, err := load(ctx, p.ctor, r, rec.Target, nil)
	return err == nil && (p.o.Keep == nil || !p.o.Keep(i))
}

// remove removes a name that is unused, and still means what it did.
func (p *pruner) remove(ctx context.Context, rec images.Image) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if unused := p.unused(ctx, rec); !unused || p.o.DryRun {
		return unused, nil
	}
	is := p.e.Client.ImageService()
	now, err := is.Get(ctx, rec.Name)
	if err == nil && !now.UpdatedAt.Equal(rec.UpdatedAt) {
		return false, nil // it has come to mean something just now
	}
	if err == nil {
		err = is.Delete(ctx, rec.Name, images.DeleteTarget(&rec.Target))
	}
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err == nil {
		p.e.Tell(events.Event{Kind: events.Image, Action: events.Removed, Name: rec.Name, Image: rec.Target.Digest.String()})
	}
	return err == nil, err
}
