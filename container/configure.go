package container

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"

	"github.com/containerd/containerd/v2/core/containers"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/ready"
	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/spec"
)

// spec writes the configuration, and the files in dir that it names.
func (b *builder) spec(ctx context.Context, p *parts, dir string) (*specs.Spec, error) {
	whole, err := b.in.Doors.Snapshot(p.mounts, dir)
	if err != nil {
		return nil, err
	}
	defer whole.Close()
	root, o := whole.In(ctx), &p.options
	o.Files, o.Addresses = dir, b.addresses()
	if err := b.cfg.Network.prepare(o, root, b.in.CA); err != nil {
		return nil, err
	}
	o.Cgroup = b.in.Cgroup(b.id)
	if err := spec.WriteNames(*o); err != nil {
		return nil, err
	}
	return b.configure(ctx, p.class.Image, *o, root)
}

// addresses are those in its networks.
func (b *builder) addresses() (all []netip.Addr) {
	for _, m := range b.members {
		all = append(all, m.Addresses()...)
	}
	return all
}

// configure writes the configuration of a container whose files are there, and finds
// out what of it can't be.
func (b *builder) configure(ctx context.Context, img ocispec.Image, o spec.Options, root *rootfs.Root) (_ *specs.Spec, err error) {
	if o.User, o.Home, err = spec.User(root, cmp.Or(b.cfg.User, img.Config.User)); err != nil {
		return nil, err
	}
	var s *specs.Spec
	if b.made != nil && b.cfg.Spec == nil {
		s, err = spec.Renew(b.made, img.Config, o)
	} else {
		s, err = spec.New(ctx, img.Config, o)
	}
	if err != nil {
		return nil, err
	}
	if b.cfg.Spec != nil {
		spec.Unshare(s)
		if err := b.cfg.Spec(s); err != nil {
			return nil, fmt.Errorf("Config.Spec: %w", err)
		}
		spec.Settle(s)
	}
	if err := b.in.Backend.Permits(s); err != nil {
		return nil, err
	}
	if b.instead != nil {
		return s, b.instead.command.Replace(root, s)
	}
	if err := spec.Check(s); err != nil {
		return nil, err
	}
	if !b.parked {
		if err := spec.CheckCommand(root, s); err != nil {
			return nil, err
		}
	}
	if !b.cfg.Init {
		return s, nil
	}
	return s, spec.AddInit(s, o.Files)
}

// record is what makes the container known.
func (b *builder) record(p parts) (r containers.Container, err error) {
	health, err := ready.Record(p.class.JSON)
	if b.cfg.Health != nil {
		health, err = b.cfg.Health.record()
	}
	if err != nil {
		return r, err
	}
	encoded, err := spec.Encode(p.spec)
	if err != nil {
		return r, err
	}
	r = containers.Container{
		ID: b.id, Image: b.ref, Spec: encoded, Runtime: containers.RuntimeInfo{Name: b.in.Runtime},
		Snapshotter: b.in.Snapshotter, SnapshotKey: b.id,
	}
	if b.over != nil {
		r.SnapshotKey = ""
	}
	return r, b.about(p.class.Image, health).Put(&r)
}

// takeUsers takes users of its own for the container that is to have them. They are
// given back with the container's other parts.
func (b *builder) takeUsers(ctx context.Context, o *spec.Options) (err error) {
	if !b.cfg.Security.UserNS {
		return nil
	}
	b.users, err = b.in.TakeUsers(ctx, b.id)
	o.Users = spec.Users{First: b.users, Count: engine.UsersEach}
	return err
}
