package container

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
)

func init() {
	engine.PruneContainers = func(ctx context.Context, e, o any) ([]string, int64, error) {
		r, err := Prune(ctx, e.(*ctor.Engine), o.(*ctor.PruneOptions))
		return r.Removed, r.Bytes, err
	}
}

// Prune removes the detached and the kept containers that don't run, and that no
// policy of Config.Restart is going to start, with their files, logs and volumes
// without a name. Attached ones are their programs'. A container that is started while
// it is looked at is left alone; one that is started at the moment of its removal goes.
// Options' times are when a container has ended, or, of
// one that was never started, when it was made; nil is the zero PruneOptions.
//
// The report names what was removed, also along with an error; its Bytes are of
// writable layers and of the files beside them.
func Prune(ctx context.Context, e *ctor.Engine, o *ctor.PruneOptions) (report ctor.PruneReport, err error) {
	if o == nil {
		o = &ctor.PruneOptions{}
	}
	list, err := List(ctx, e)
	if err != nil {
		return report, fmt.Errorf("prune: %w", err)
	}
	var errs []error
	for _, c := range list {
		if ctx.Err() != nil {
			errs = append(errs, ctx.Err())
			break
		}
		bytes, removed, err := c.prune(ctx, o)
		errs = append(errs, err)
		if removed {
			report.Removed, report.Bytes = append(report.Removed, c.Name()), report.Bytes+bytes
		}
	}
	return report, errors.Join(errs...)
}

func (c *Container) prune(ctx context.Context, o *ctor.PruneOptions) (bytes int64, removed bool, err error) {
	i, err := c.Info(ctx)
	if errdefs.IsNotFound(err) {
		return 0, false, nil // it was faster
	}
	if err != nil || !c.detached() && !c.kept() || c.about.Owner != "" || i.State != Exited && i.State != Created || c.hasKeeper() {
		return 0, false, err
	}
	at := i.Created
	if !i.Finished.IsZero() {
		at = i.Finished
	}
	if o.Spares(ctor.EventContainer, c.Name(), i.Labels, at) {
		return 0, false, nil
	}
	if bytes, err = c.usage(ctx); err != nil || o.DryRun {
		return bytes, err == nil, err
	}
	lives := i.Lives
	if i, err = c.Info(ctx); err != nil || i.Lives != lives || i.State != Exited && i.State != Created {
		return 0, false, nil
	}
	if err := c.Remove(ctx); err != nil {
		return 0, false, err
	}
	return bytes, true, nil
}

// usage is what the container's own files take up, in bytes.
func (c *Container) usage(ctx context.Context) (bytes int64, err error) {
	err = c.call(ctx, func(ctx context.Context) (err error) {
		bytes, err = c.e.ContainerUsage(ctx, c.record)
		return err
	})
	return bytes, c.wrap("usage of", err)
}
