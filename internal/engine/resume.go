package engine

import (
	"context"
	"sync"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/log"

	"github.com/ctorhq/ctor/internal/record"
)

// Resume begins the next lives of the containers of an engine that has begun, whose
// policies want that. Package container sets it.
var Resume = func(ctx context.Context, ctorEngine any) {}

// Unattended finds the containers that earlier programs have left to their policies, and
// those that go on without one, and has each seen to. It returns when those with a
// policy are: their next lives have begun, or failed to, which is tried again as after
// any life.
func (e *Engine) Unattended(ctx context.Context, see func(context.Context, containers.Container)) {
	ctx, leave, err := e.Enter(ctx)
	if err != nil {
		return
	}
	defer leave()
	records, err := e.Client.ContainerService().List(ctx)
	if err != nil {
		log.G(ctx).WithError(err).Warn("could not find out which containers are to be started again")
	}
	var all sync.WaitGroup
	for _, r := range records {
		switch about, _ := record.Of(r); {
		case about.Owner != "":
		case about.Restart != 0:
			all.Go(func() { see(ctx, r) })
		case about.Detached:
			go func() { // there is nothing to begin, so nothing that Open waits for
				ctx, leave, err := e.Enter(context.WithoutCancel(ctx))
				if err == nil {
					defer leave()
					see(ctx, r)
				}
			}()
		}
	}
	all.Wait()
}
