package tasks

import (
	"context"
	"errors"
	"io/fs"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/bundle"
)

// Relimit notes what the lives may use that a shim begins by itself. A container without
// a bundle has no such shim.
func (s *Service) Relimit(ctx context.Context, id string, r *specs.LinuxResources) error {
	k, err := key(ctx, id)
	if err != nil {
		return err
	}
	if err := bundle.Limit(s.bundle(k), r); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
