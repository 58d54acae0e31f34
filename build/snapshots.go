package build

import (
	"context"
	"errors"
	"slices"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/moby/buildkit/snapshot"
	"github.com/moby/sys/user"
	"github.com/opencontainers/go-digest"

	"github.com/ctorhq/ctor/internal/engine"
)

// store is the engine's snapshotter as BuildKit uses one. The layers of base images
// are those that the engine has unpacked: BuildKit's names for them are translated
// into the engine's.
type store struct {
	in *engine.Engine
	sn snapshots.Snapshotter
}

var _ snapshot.Snapshotter = (*store)(nil)

func newStore(in *engine.Engine) *store {
	return &store{in: in, sn: in.Client.SnapshotService(in.Snapshotter)}
}

// ours is the engine's name of a snapshot.
func ours(key string) string {
	if chain, ok := snapshot.ParseLayerSnapshotID(key); ok {
		return chain.String()
	}
	return key
}

// theirs is BuildKit's name of a snapshot.
func theirs(key string) string {
	if d, err := digest.Parse(key); err == nil {
		return snapshot.LayerSnapshotID(d)
	}
	return key
}

func (s *store) Name() string { return s.in.Snapshotter }

func (s *store) IdentityMapping() *user.IdentityMapping { return nil }

func (s *store) Mounts(ctx context.Context, key string) (snapshot.Mountable, error) {
	m, err := s.sn.Mounts(s.in.Context(ctx), ours(key))
	if err != nil {
		return nil, err
	}
	return &mountable{m}, nil
}

func (s *store) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) error {
	_, err := s.sn.Prepare(s.in.Context(ctx), ours(key), ours(parent), opts...)
	return err
}

func (s *store) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) (snapshot.Mountable, error) {
	m, err := s.sn.View(s.in.Context(ctx), ours(key), ours(parent), opts...)
	if err != nil {
		return nil, err
	}
	return &mountable{m}, nil
}

func (s *store) Stat(ctx context.Context, key string) (snapshots.Info, error) {
	i, err := s.sn.Stat(s.in.Context(ctx), ours(key))
	i.Name, i.Parent = key, theirs(i.Parent)
	return i, err
}

func (s *store) Update(ctx context.Context, info snapshots.Info, fields ...string) (snapshots.Info, error) {
	key := info.Name
	info.Name, info.Parent = ours(key), ours(info.Parent)
	i, err := s.sn.Update(s.in.Context(ctx), info, fields...)
	i.Name, i.Parent = key, theirs(i.Parent)
	return i, err
}

func (s *store) Usage(ctx context.Context, key string) (snapshots.Usage, error) {
	return s.sn.Usage(s.in.Context(ctx), ours(key))
}

func (s *store) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	ctx = s.in.Context(ctx)
	info, err := s.sn.Stat(ctx, ours(key))
	if err != nil {
		return err
	}
	opts = append(opts, snapshots.WithLabels(snapshots.FilterInheritedLabels(info.Labels)))
	return s.sn.Commit(ctx, ours(name), ours(key), opts...)
}

// Remove implements snapshot.Snapshotter. BuildKit lets go of leases instead.
func (*store) Remove(context.Context, string) error {
	return errors.New("a snapshot is removed with its lease")
}

func (s *store) Walk(ctx context.Context, fn snapshots.WalkFunc, filters ...string) error {
	return s.sn.Walk(s.in.Context(ctx), func(ctx context.Context, i snapshots.Info) error {
		i.Name, i.Parent = theirs(i.Name), theirs(i.Parent)
		return fn(ctx, i)
	}, filters...)
}

// Close implements snapshot.Snapshotter. The snapshotter is the engine's.
func (*store) Close() error { return nil }

// mountable are the mounts of a snapshot, as the snapshotter gives them.
type mountable struct{ mounts []mount.Mount }

func (m *mountable) Mount() ([]mount.Mount, func() error, error) {
	list := slices.Clone(m.mounts)
	for i := range list {
		list[i].Options = slices.Clone(list[i].Options)
	}
	return list, func() error { return nil }, nil
}

func (*mountable) IdentityMapping() *user.IdentityMapping { return nil }

// lessor are the engine's leases, with BuildKit's names for snapshots.
type lessor struct{ leases.Manager }

func (l lessor) AddResource(ctx context.Context, lease leases.Lease, r leases.Resource) error {
	r.ID = ours(r.ID)
	return l.Manager.AddResource(ctx, lease, r)
}

func (l lessor) DeleteResource(ctx context.Context, lease leases.Lease, r leases.Resource) error {
	r.ID = ours(r.ID)
	return l.Manager.DeleteResource(ctx, lease, r)
}
