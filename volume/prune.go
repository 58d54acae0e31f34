package volume

import (
	"context"
	"errors"

	ctor "github.com/ctorhq/ctor"
)

// Prune removes the volumes that no container has, running or not, with all that is in
// them. Options' times are when a volume was made. nil is the zero PruneOptions, which
// removes all of them.
func Prune(ctx context.Context, e *ctor.Engine, o *ctor.PruneOptions) (report ctor.PruneReport, err error) {
	if o == nil {
		o = &ctor.PruneOptions{}
	}
	list, err := List(ctx, e)
	if err != nil {
		return report, err
	}
	var errs []error
	for _, v := range list {
		bytes, removed, err := v.prune(ctx, o)
		errs = append(errs, err)
		if removed {
			report.Removed, report.Bytes = append(report.Removed, v.Name()), report.Bytes+bytes
		}
	}
	return report, errors.Join(errs...)
}

func (v *Volume) prune(ctx context.Context, o *ctor.PruneOptions) (bytes int64, removed bool, err error) {
	users, err := v.Containers(ctx)
	if err == nil && len(users) == 0 && !o.Spares(ctor.EventVolume, v.Name(), v.Labels(), v.Created()) {
		if bytes, err = v.Usage(ctx); err == nil && !o.DryRun {
			err = v.Remove(ctx)
		}
		removed = err == nil
	}
	if errors.Is(err, ErrInUse) || errors.Is(err, ctor.ErrNotFound) {
		return 0, false, nil // a container has come, or another call was faster
	}
	return bytes, removed, err
}
