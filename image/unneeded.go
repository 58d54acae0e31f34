package image

import (
	"context"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
)

func init() {
	engine.PruneImages = func(ctx context.Context, e, o any) ([]string, int64, error) {
		r, err := Prune(ctx, e.(*ctor.Engine), optionsOf(o.(*ctor.PruneOptions)))
		return r.Removed, r.Bytes, err
	}
}

// optionsOf are an engine's options as those of images, whose labels are in their
// configuration.
func optionsOf(o *ctor.PruneOptions) *PruneOptions {
	own := &PruneOptions{Before: o.Before, DryRun: o.DryRun}
	if o.Keep != nil {
		own.Keep = func(i *Image) bool { return o.Keep(ctor.EventImage, i.Ref(), i.Spec().Config.Labels) }
	}
	return own
}
