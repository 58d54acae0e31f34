package engine

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/unwind"
)

// undo removes something that nothing else will ever be called as. What is gone
// already is no error. If it can't be removed, that is owed: Settle tries again,
// and so does Shut, which tells what it still could not.
func (e *Engine) undo(ctx context.Context, what string, remove func(context.Context) error) error {
	try := func(ctx context.Context) error {
		if err := remove(ctx); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
	err := try(ctx)
	if err == nil {
		return nil
	}
	var owed unwind.Stack
	owed.Push(func() error {
		ctx, cancel := e.Cleanup(context.Background())
		defer cancel()
		return try(ctx)
	})
	e.debt.Owe(&owed)
	return err
}

// RemoveSnapshot removes a snapshot that a call has made for itself, by the
// engine's snapshotter, whatever has become of the call's context.
func (e *Engine) RemoveSnapshot(key string) error {
	ctx, cancel := e.Cleanup(context.Background())
	defer cancel()
	return e.undo(ctx, "delete snapshot "+key, func(ctx context.Context) error {
		return e.Client.SnapshotService(e.Snapshotter).Remove(ctx, key)
	})
}
