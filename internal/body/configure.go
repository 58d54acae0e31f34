package body

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/spec"
)

// name is what the container is called.
func (b *Body) name() string { return cmp.Or(b.plan.Record.Name, b.plan.ID) }

// hostname is what its host is called.
func (b *Body) hostname() string { return cmp.Or(b.plan.Wanted.Hostname, spec.Hostname(b.name())) }

// addresses are the container's in its networks.
func (b *Body) addresses() (all []netip.Addr) {
	for _, m := range b.Members {
		all = append(all, m.Addresses()...)
	}
	return all
}

// configure writes the configuration, and the files in its directory that it names.
func (b *Body) configure(ctx context.Context) error {
	return b.look(ctx, func(root *rootfs.Root) (err error) {
		o := &b.options
		o.Addresses = b.addresses()
		if err := b.plan.Network.Prepare(o, root, b.e.CA); err != nil {
			return err
		}
		if err := spec.WriteNames(*o); err != nil {
			return err
		}
		b.spec, err = b.specify(ctx, root, nil)
		return err
	})
}

// look does something with the container's files, as they are before its first life.
func (b *Body) look(ctx context.Context, do func(root *rootfs.Root) error) error {
	whole, err := b.e.Doors.Snapshot(b.Root, b.options.Files)
	if err != nil {
		return err
	}
	defer whole.Close()
	return do(whole.In(ctx))
}

// specify makes the configuration of a container whose files are there, and finds out
// what of it can't be. made is one that differs from it in the command alone; nil:
// there is none.
func (b *Body) specify(ctx context.Context, root *rootfs.Root, made *specs.Spec) (s *specs.Spec, err error) {
	o, image := &b.options, b.class.Image.Config
	if o.User, o.Home, err = spec.User(root, cmp.Or(b.plan.User, image.User)); err != nil {
		return nil, err
	}
	edit := b.plan.Edit
	if made != nil && edit == nil {
		s, err = spec.Renew(made, image, *o)
	} else {
		s, err = spec.New(ctx, image, *o)
	}
	if err != nil {
		return nil, err
	}
	if edit != nil {
		spec.Unshare(s)
		if err := edit(s); err != nil {
			return nil, fmt.Errorf("Config.Spec: %w", err)
		}
		spec.Settle(s)
	}
	if err := b.e.Backend.Permits(s); err != nil {
		return nil, err
	}
	spec.Fit(s)
	if b.plan.Command != nil {
		return s, b.plan.Command.Replace(root, s)
	}
	if err := spec.Check(s); err != nil {
		return nil, err
	}
	if !b.plan.Parked {
		if err := spec.CheckCommand(root, s); err != nil {
			return nil, err
		}
	}
	if b.plan.Init {
		err = spec.AddInit(s, o.Files)
	}
	return s, err
}
