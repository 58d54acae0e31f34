package engine

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/unwind"
)

// Diff opens what a container has written beside what its image has. What the
// runtime has made to mount on, and the working directory, is not the
// container's doing. end closes it.
func (e *Engine) Diff(ctx context.Context, c containers.Container) (d *rootfs.Diff, end func() error, err error) {
	var undo unwind.Stack
	defer undo.OnError(&err)
	if c.SnapshotKey == "" {
		return nil, nil, fmt.Errorf("its files are the program's, and no image's: %w", errdefs.ErrInvalidArgument)
	}
	var s specs.Spec
	if err := json.Unmarshal(c.Spec.GetValue(), &s); err != nil {
		return nil, nil, fmt.Errorf("record: %w", err)
	}
	sn := e.Client.SnapshotService(c.Snapshotter)
	mounts, err := sn.Mounts(ctx, c.SnapshotKey)
	if err != nil {
		return nil, nil, err
	}
	at := e.Dir(c.ID)
	if d, err = e.Doors.Diff(mounts, at); err != nil {
		return nil, nil, err
	}
	undo.Close(d)
	// Files of the image are as they were made, long before or just now.
	d.Since = c.CreatedAt.Add(-time.Second)
	for _, m := range s.Mounts {
		d.Made = append(d.Made, m.Destination)
	}
	if s.Process != nil {
		d.Made = append(d.Made, s.Process.Cwd)
	}
	if d.Before != nil {
		return d, undo.Run, nil
	}
	info, err := sn.Stat(ctx, c.SnapshotKey)
	if err != nil || info.Parent == "" {
		return d, undo.Run, err // nothing was there before
	}
	key := "before-" + rand.Text()
	below, err := sn.View(ctx, key, info.Parent, snapshots.WithLabels(OwnRoot()))
	if err != nil {
		return nil, nil, err
	}
	undo.Push(func() error { return e.RemoveSnapshot(key) })
	if d.Before, err = e.Doors.Snapshot(below, at); err == nil {
		undo.Close(d.Before) // before the snapshot goes
	}
	return d, undo.Run, err
}
