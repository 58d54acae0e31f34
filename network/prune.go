package network

import (
	"context"
	"errors"

	"github.com/containerd/errdefs"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
)

func init() {
	engine.PruneNetworks = func(ctx context.Context, e, o any) ([]string, int64, error) {
		r, err := Prune(ctx, e.(*ctor.Engine), o.(*ctor.PruneOptions))
		return r.Removed, r.Bytes, err
	}
}

// Prune removes the engine's networks that no container is in. They take up nothing
// of the disk. nil is the zero PruneOptions.
func Prune(ctx context.Context, e *ctor.Engine, o *ctor.PruneOptions) (report ctor.PruneReport, err error) {
	if o == nil {
		o = &ctor.PruneOptions{}
	}
	list, err := List(ctx, e)
	if err != nil {
		return report, err
	}
	var errs []error
	for _, n := range list {
		if n.lan.Used() || o.Spares(ctor.EventNetwork, n.Name(), n.lan.Labels, n.lan.Created) {
			continue
		}
		if !o.DryRun {
			if err := n.Remove(ctx); errdefs.IsInvalidArgument(err) {
				continue // a container has come meanwhile
			} else if err != nil {
				errs = append(errs, err)
				continue
			}
		}
		report.Removed = append(report.Removed, n.Name())
	}
	return report, errors.Join(errs...)
}
