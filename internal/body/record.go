package body

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/containerd/v2/core/containers"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/ready"
	"github.com/ctorhq/ctor/internal/record"
	"github.com/ctorhq/ctor/internal/spec"
)

// enroll writes the record that makes the container known, or that says of one that
// waited what it is now.
func (b *Body) enroll(ctx context.Context) error {
	encoded, err := spec.Encode(b.spec)
	if err != nil {
		return err
	}
	r := containers.Container{
		ID: b.plan.ID, Image: b.plan.Ref, Spec: encoded, Runtime: containers.RuntimeInfo{Name: b.e.Runtime},
		Snapshotter: b.e.Snapshotter, SnapshotKey: b.plan.ID,
	}
	if b.plan.Given != nil {
		r.SnapshotKey = ""
	}
	about, err := b.about()
	if err != nil {
		return err
	}
	if err := about.Put(&r); err != nil {
		return err
	}
	records := b.e.Client.ContainerService()
	if b.Record.ID == "" {
		r, err = records.Create(ctx, r)
	} else {
		r, err = records.Update(ctx, r)
	}
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	b.Record = r
	return nil
}

// about is what later calls and later programs must know of the container. It
// has an owner until it is all made, even one that outlives its owner: an owner
// that is killed in between leaves no half of a container.
func (b *Body) about() (r record.Record, err error) {
	r = b.plan.Record
	image := b.class.Image.Config.StopSignal
	if _, err := life.ParseSignal(image); r.StopSignal == "" && err == nil {
		r.StopSignal = image // one that is no signal is passed over
	}
	r.Ref, r.Image = b.plan.Ref, b.plan.Manifest.Digest.String()
	r.Volumes, r.Users, r.Quota, r.Disk = b.named(), b.users, b.project, b.watched
	r.Owner = engine.Owner()
	r.Health, err = b.health()
	return r, err
}

// health is the check of the container's health as its record has it; nil: none.
func (b *Body) health() (json.RawMessage, error) {
	switch h := b.plan.Health; {
	case h == nil:
		return ready.Record(b.class.JSON)
	case len(h.Args) == 0:
		return nil, nil
	default:
		return ready.Keep(*h)
	}
}
