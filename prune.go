package ctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ctorhq/ctor/internal/engine"
)

// PruneOptions say what is removed of what nothing needs. nil is the zero value, which
// is all of it.
type PruneOptions struct {
	// Before keeps what was made, or has ended, at that time or later. The zero time
	// keeps nothing.
	Before time.Time

	// Keep tells of something that would be removed whether it is to stay, by what it
	// is, its name and its labels. nil keeps nothing.
	Keep func(kind EventKind, name string, labels map[string]string) bool

	// DryRun removes nothing, and reports what would be removed.
	DryRun bool
}

// Spares tells whether something stays that was made, or has ended, at a time.
func (o *PruneOptions) Spares(kind EventKind, name string, labels map[string]string, at time.Time) bool {
	return !o.Before.IsZero() && !at.Before(o.Before) || o.Keep != nil && o.Keep(kind, name, labels)
}

// PruneReport is what was removed since nothing needed it, or, of a dry run, what
// would be.
type PruneReport struct {
	Removed []string // names, in their order
	Bytes   int64    // of the disk that are free by that
}

// Prune removes what nothing needs any more: images that no container was made from, as
// image.Prune does, then containers, as container.Prune does, and networks, as
// network.Prune does, of those packages that the program imports. Images that only those
// containers were made from go with the next Prune; Before and Keep spare what programs
// have pulled for later. It leaves volumes alone, which hold what their containers were
// for: volume.Prune removes them. The report is of what was removed, also along with an
// error. nil is the zero PruneOptions.
func (e *Engine) Prune(ctx context.Context, o *PruneOptions) (PruneReport, error) {
	if o == nil {
		o = &PruneOptions{}
	}
	var all PruneReport
	var errs []error
	for _, prune := range []engine.Prune{engine.PruneImages, engine.PruneContainers, engine.PruneNetworks} {
		if prune == nil {
			continue // the program has none
		}
		removed, bytes, err := prune(ctx, e, o)
		all.Removed, all.Bytes = append(all.Removed, removed...), all.Bytes+bytes
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return all, fmt.Errorf("prune: %w", err)
	}
	return all, nil
}
