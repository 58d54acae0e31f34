package volume

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"strings"
	"time"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/events"
	"github.com/ctorhq/ctor/internal/record"
	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/volumes"
)

// ErrInUse is the class of a Remove of a volume that a container has, running or not,
// of whatever program. It is ctor.ErrInvalid as well.
var ErrInUse = engine.ErrInUse

// Options say how a volume is. The zero value, like nil, says nothing.
type Options struct {
	// Labels are kept with the volume, up to 4096 bytes for a name and its value.
	// Names that begin with "io.ctor." are the library's own, and "containerd.io/"
	// is containerd's.
	Labels map[string]string
}

// Volume is a directory that outlives containers. It is safe for use by any number of
// goroutines, and needs no closing. Its methods speak of the volume that has its name,
// also after another one has got it.
type Volume struct {
	e      *engine.Engine
	record volumes.Record
}

// New makes a volume, empty, which stays until it is removed. The name is up to 76
// letters, digits, and single "-", "_" or "." between them; "" is a random one. One
// that is taken is ctor.ErrAlreadyExists; one that can't be a name, and labels that
// can't be kept, are ctor.ErrInvalid.
func New(ctx context.Context, e *ctor.Engine, name string, o *Options) (*Volume, error) {
	if name == "" {
		name = strings.ToLower(rand.Text()[:16])
	}
	if o == nil {
		o = &Options{}
	}
	in := engine.Of(e)
	_, leave, err := in.Enter(ctx)
	if err != nil {
		return nil, wrap("new", name, err)
	}
	defer leave()
	if err := record.CheckLabels(o.Labels); err != nil {
		return nil, wrap("new", name, err)
	}
	r, err := in.Store().Create(name, maps.Clone(o.Labels))
	if err != nil {
		return nil, wrap("new", name, err)
	}
	in.Tell(events.Event{Kind: events.Volume, Action: events.Created, Name: r.Name})
	return &Volume{in, r}, nil
}

// Get finds a volume by its name. One that does not exist is ctor.ErrNotFound.
func Get(ctx context.Context, e *ctor.Engine, name string) (*Volume, error) {
	in := engine.Of(e)
	_, leave, err := in.Enter(ctx)
	if err != nil {
		return nil, wrap("get", name, err)
	}
	defer leave()
	r, err := in.Store().Get(name)
	if err != nil {
		return nil, wrap("get", name, err)
	}
	return &Volume{in, r}, nil
}

// List gives all volumes of the engine's namespace that have a name, in the order of
// their names.
func List(ctx context.Context, e *ctor.Engine) ([]*Volume, error) {
	in := engine.Of(e)
	_, leave, err := in.Enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	defer leave()
	all, err := in.Store().List()
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	var list []*Volume
	for _, r := range all {
		list = append(list, &Volume{in, r})
	}
	return list, nil
}

// Name is what the volume is called.
func (v *Volume) Name() string { return v.record.Name }

// Labels are those of Options; the caller may change the map.
func (v *Volume) Labels() map[string]string { return maps.Clone(v.record.Labels) }

// Created is when the volume was made.
func (v *Volume) Created() time.Time { return v.record.Created }

// Mount is the volume for a container's Config, at target.
func (v *Volume) Mount(target string) container.Mount {
	return container.Mount{Type: container.Volume, Source: v.Name(), Target: target}
}

// Containers names the containers that have the volume, running or not, of whatever
// program.
func (v *Volume) Containers(ctx context.Context) (names []string, err error) {
	err = v.do(ctx, "containers of", func(ctx context.Context) error {
		if _, err := v.e.Store().Get(v.Name()); err != nil {
			return err
		}
		names, err = v.e.VolumeUsers(ctx, v.Name())
		return err
	})
	return names, err
}

// Usage tells how many bytes of the disk the volume takes up. A file of several names
// counts once, and what its containers write meanwhile may count or not.
func (v *Volume) Usage(ctx context.Context) (bytes int64, err error) {
	err = v.do(ctx, "usage of", func(ctx context.Context) error {
		return v.visit(ctx, func(ctx context.Context, r *rootfs.Root) error {
			bytes, err = r.Usage(ctx)
			return err
		})
	})
	return bytes, err
}

// Remove removes the volume with all that is in it. One that a container has is
// [ErrInUse], and the error names the container; one that is gone is ctor.ErrNotFound.
// It waits for a container that is being made with it, and for calls that use its FS.
func (v *Volume) Remove(ctx context.Context) error {
	return v.do(ctx, "remove", func(ctx context.Context) error {
		if err := v.e.RemoveVolume(ctx, v.Name()); err != nil {
			return err
		}
		v.e.Tell(events.Event{Kind: events.Volume, Action: events.Removed, Name: v.Name()})
		return nil
	})
}

// FS gives the volume's files, which need no container. Names count from the volume's
// own root, and links are followed inside it: an absolute one counts from there too,
// which in a container it does not. A call waits as long as the first container's
// image is being copied, and is fs.ErrNotExist once the volume is removed. The other
// rules are those of a container's files.
func (v *Volume) FS() *container.FS {
	return volumes.FS(fmt.Sprintf("volume %q", v.Name()), func(ctx context.Context, act func(context.Context, *rootfs.Root) error) error {
		ctx, leave, err := v.e.Enter(ctx)
		if err != nil {
			return err
		}
		defer leave()
		return engine.Cause(ctx, v.visit(ctx, act))
	}).(*container.FS)
}

// visit is a use of the volume's files, in a call on the engine.
func (v *Volume) visit(ctx context.Context, act func(context.Context, *rootfs.Root) error) error {
	h, err := v.e.Store().Hold(ctx, v.Name())
	if err != nil {
		return err
	}
	defer h.Release()
	root, err := h.Root()
	if err != nil {
		return err
	}
	defer root.Close()
	return act(ctx, root.In(ctx))
}

// do is a call on the volume.
func (v *Volume) do(ctx context.Context, op string, call func(context.Context) error) error {
	ctx, leave, err := v.e.Enter(ctx)
	if err != nil {
		return wrap(op, v.Name(), err)
	}
	defer leave()
	return wrap(op, v.Name(), engine.Cause(ctx, call(ctx)))
}

// wrap names the operation and the volume.
func wrap(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s volume %q: %w", op, name, err)
}
