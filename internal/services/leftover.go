package services

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// clear removes the layers that are still held when the program ends. They end
// with it, and only they keep the snapshots below them.
func (l *layers) clear() error {
	l.mu.Lock()
	left := slices.Collect(maps.Values(l.held))
	clear(l.held)
	l.mu.Unlock()
	errs := []error{l.trash.Empty()}
	for _, h := range left {
		if h == nil { // never made
			continue
		}
		if err := rootfs.Discard(h.dir); err != nil {
			errs = append(errs, fmt.Errorf("layer of %s: %w", h.info.Name, err))
		}
		l.bases.leave(h.base)
	}
	return errors.Join(errs...)
}
