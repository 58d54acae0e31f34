package engine

import "context"

// Prune removes what nothing needs any more, by a *ctor.PruneOptions of a
// *ctor.Engine.
type Prune func(ctx context.Context, ctorEngine, options any) (removed []string, bytes int64, err error)

// The packages that can set these; nil: the program does not have them.
var PruneImages, PruneContainers, PruneNetworks Prune
