package image

import (
	"context"
	"errors"
	"fmt"
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

	// Unreadable removes as well the names of images that can't be read any more, since
	// a manifest or a configuration is damaged or missing. Keep is not asked about them.
	// Without it they stay, and the error tells of them: Repair may mend them.
	Unreadable bool

	// DryRun removes nothing, and reports what would be removed.
	DryRun bool
}

// Prune removes the names of images that no container was made from, whatever state
// the container is in, and what nothing else needs of them; also what pulls that were
// cut off have kept for the next one. Pulls and other calls that are under way are left
// alone: what they give their name after Prune has begun stays, and so does an image that
// a container is made from meanwhile. What is in the store and no image, such as a
// signature, stays as long as what it is about.
//
// The error tells of every image that can't be read, and so could not be judged; the
// others are removed all the same. The report names what was removed, also along with
// an error. Its Bytes are of the
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
	gone, kept, err := p.breakOff(ctx, broken)
	if err != nil {
		return report, err
	}
	removed, err := p.removeAll(ctx, records)
	for _, rec := range records {
		if !removed[rec.Name] {
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

// removeAll removes the names that nothing needs, and gives them. As long as it lasts
// all content stays, so that a name can be put back.
func (p *pruner) removeAll(ctx context.Context, records []images.Image) (removed map[string]bool, err error) {
	removed = map[string]bool{}
	ctx, release, err := p.e.Lease(ctx)
	if err != nil {
		return removed, err
	}
	defer release(&err)
	var errs []error
	for _, rec := range records {
		gone, err := p.remove(ctx, rec)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", rec.Name, err))
		}
		if err != nil && !errors.Is(err, errUnreadable) {
			break
		}
		removed[rec.Name] = gone
	}
	return removed, errors.Join(errs...)
}

// errUnreadable is of an image that can't be judged.
var errUnreadable = errors.New("it can't be read, and stays: Repair may mend it, PruneOptions.Unreadable removes it")

// remove removes a name that nothing needs, by what is so at this moment.
func (p *pruner) remove(ctx context.Context, rec images.Image) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := p.e.HoldContent(ctx, rec.Target.Digest); err != nil {
		return false, err
	}
	if needless, err := p.needless(ctx, rec); !needless || err != nil || p.o.DryRun {
		return needless, err
	}
	unlock, err := p.e.Naming(ctx, rec.Name)
	if err != nil {
		return false, err
	}
	defer unlock()
	if same, err := p.same(ctx, rec); !same || err != nil {
		return false, err
	}
	is := p.e.Client.ImageService()
	err = is.Delete(ctx, rec.Name, images.DeleteTarget(&rec.Target))
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// A container may have been made of it since needless looked.
	used, err := p.used(ctx, rec)
	if used || err != nil {
		ctx, cancel := p.e.Cleanup(ctx)
		defer cancel()
		_, perr := is.Create(ctx, rec)
		return false, errors.Join(err, perr)
	}
	p.e.Tell(events.Event{Kind: events.Image, Action: events.Removed, Name: rec.Name, Image: rec.Target.Digest.String()})
	return true, nil
}

// needless tells of a name whether nothing needs it.
func (p *pruner) needless(ctx context.Context, rec images.Image) (bool, error) {
	if !p.o.Before.IsZero() && !rec.UpdatedAt.Before(p.o.Before) {
		return false, nil
	}
	r, err := reference.Parse(rec.Name)
	if err != nil {
		return false, nil // another client of a shared containerd may call it anything
	}
	if used, err := p.used(ctx, rec); used || err != nil {
		return false, err
	}
	i, err := load(ctx, p.ctor, r, rec.Target, nil)
	switch {
	case err == nil:
		return p.o.Keep == nil || !p.o.Keep(i), nil
	case errors.Is(err, errNoImage):
		return false, nil
	case !errdefs.IsNotFound(err) && !errdefs.IsInvalidArgument(err):
		return false, err
	}
	if same, serr := p.same(ctx, rec); !same || serr != nil {
		return false, serr
	}
	if !p.o.Unreadable {
		return false, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return true, nil
}

// used tells whether a container was made from an image.
func (p *pruner) used(ctx context.Context, rec images.Image) (bool, error) {
	uses, err := usesOf(ctx, p.e)
	if err == nil {
		err = p.v.renew(ctx, rec)
	}
	return err == nil && uses.of(rec.Name, p.v.of(rec)) > 0, err
}

// same tells whether a name still means what it did, and was given to nothing meanwhile.
func (p *pruner) same(ctx context.Context, rec images.Image) (bool, error) {
	now, err := p.e.Client.ImageService().Get(ctx, rec.Name)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil && now.UpdatedAt.Equal(rec.UpdatedAt) && now.Target.Digest == rec.Target.Digest, err
}
