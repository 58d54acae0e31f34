package rootfs

import (
	"cmp"
	"context"
	"fmt"

	"github.com/containerd/errdefs"
)

// Limits are what a layer may have at most. 0 of one means its default.
type Limits struct {
	Bytes   int64 // of its tar, and of its files together
	Entries int64
	Ratio   int64 // of its tar to what it is packed in: see package packing
}

// The defaults. Each name takes up a few bytes of memory; a hole takes up none of the
// disk, but time.
const (
	maxBytes   = 1 << 40
	maxEntries = 2_000_000
	maxRatio   = 200
)

// Check tells whether the limits can be meant.
func (l Limits) Check() error {
	if l.Bytes < 0 || l.Entries < 0 || l.Ratio < 0 {
		return fmt.Errorf("limits of a layer of %d bytes, %d entries and %d times its size: none can be negative: %w", l.Bytes, l.Entries, l.Ratio, errdefs.ErrInvalidArgument)
	}
	return nil
}

type limitsKey struct{}

// Limit gives those that unpack layers with ctx other limits than the defaults. They go
// by ctx since a layer may be unpacked by containerd's diff service, whose calls have
// no place for them.
func Limit(ctx context.Context, l Limits) context.Context {
	return context.WithValue(ctx, limitsKey{}, l)
}

// LimitsOf are the limits of ctx, where each is set.
func LimitsOf(ctx context.Context) Limits {
	l, _ := ctx.Value(limitsKey{}).(Limits)
	return Limits{Bytes: cmp.Or(l.Bytes, maxBytes), Entries: cmp.Or(l.Entries, maxEntries), Ratio: cmp.Or(l.Ratio, maxRatio)}
}
