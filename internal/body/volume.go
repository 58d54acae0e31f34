package body

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/events"
	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/spec"
	"github.com/ctorhq/ctor/internal/volumes"
)

// volume is a directory of the engine's in the container.
type volume struct {
	name   string // "": it has none
	dir    string // on the host
	target string
	files  fs.FS // what it holds; nil: what the image has there
}

// maxDeclared bounds the volumes that an image declares: each is a directory and a
// mount of every container.
const maxDeclared = 100

// mounts are those of the container: the volumes that the image declares, and the
// caller's, in order. It notes the volumes, and the images to be shown.
func (b *Body) mounts(img ocispec.ImageConfig) (all []specs.Mount, err error) {
	declared, err := declaredVolumes(img, b.plan.Mounts)
	if err != nil {
		return nil, err
	}
	nameless := 0
	for _, m := range slices.Concat(declared, b.plan.Mounts) {
		undo, err := m.MakeSource()
		if err != nil {
			return nil, err
		}
		b.Undo.Push(func() error { undo(); return nil })
		s, err := m.Spec()
		if err != nil {
			return nil, err
		}
		if m.Kind == spec.Image {
			b.views = append(b.views, view{len(all), m})
		}
		if m.Kind == spec.Volume || m.Kind == spec.Files {
			v := volume{name: m.Source, target: s.Destination, files: m.FS}
			if v.name == "" {
				v.dir = b.e.Anonymous(b.plan.ID, nameless)
				nameless++
			} else if err := volumes.CheckName(v.name); err != nil {
				return nil, fmt.Errorf("mount on %q: volume: %w", m.Target, err)
			} else {
				v.dir = b.e.Store().Data(v.name)
			}
			s.Source = v.dir
			b.volumes = append(b.volumes, v)
		}
		all = append(all, s)
	}
	return all, nil
}

// declaredVolumes are the volumes that an image declares, a directory before those in
// it, but for the places where the caller mounts something.
func declaredVolumes(img ocispec.ImageConfig, mounts []spec.Mount) (declared []spec.Mount, err error) {
	if len(img.Volumes) > maxDeclared {
		return nil, invalid("the image declares %d volumes, more than %d", len(img.Volumes), maxDeclared)
	}
	for _, v := range slices.Sorted(maps.Keys(img.Volumes)) {
		m := spec.Mount{Kind: spec.Volume, Target: path.Join("/", v)}
		if slices.ContainsFunc(slices.Concat(declared, mounts), func(o spec.Mount) bool { return path.Clean(o.Target) == m.Target }) {
			continue
		}
		if _, err := m.Spec(); err != nil {
			return nil, fmt.Errorf("volume %q that the image declares: %w", v, err)
		}
		declared = append(declared, m)
	}
	return declared, nil
}

// named are the names of the container's volumes, each once.
func (b *Body) named() (names []string) {
	for _, v := range b.volumes {
		if v.name != "" {
			names = append(names, v.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// makeVolumes makes the named ones that are missing.
func (b *Body) makeVolumes(ctx context.Context) error {
	for _, name := range b.named() {
		_, err := b.e.Store().Get(name)
		if err == nil {
			continue
		}
		if errdefs.IsNotFound(err) {
			_, err = b.e.Store().Create(name, nil)
		}
		if errdefs.IsAlreadyExists(err) {
			continue // another call was faster
		}
		if err != nil {
			return fmt.Errorf("volume %q: %w", name, err)
		}
		b.e.Tell(events.Event{Kind: events.Volume, Action: events.Created, Name: name})
		b.push(ctx, func(ctx context.Context) error {
			b.e.Tell(events.Event{Kind: events.Volume, Action: events.Removed, Name: name})
			return b.e.Unmake(ctx, name)
		})
	}
	return nil
}

// useVolumes fills those that are new with what the image has at their targets, and
// keeps the named ones from being removed until release: by then the record says
// that the container has them.
func (b *Body) useVolumes(ctx context.Context) (_ func(), err error) {
	img := &imageRoot{open: func() (*rootfs.Root, error) { return b.e.Doors.Snapshot(b.Root, b.options.Files) }}
	var held []*volumes.Held
	release := func() {
		for _, h := range held {
			h.Release()
		}
	}
	defer func() {
		if err = errors.Join(err, img.Close()); err != nil {
			release()
		}
	}()
	// In the order of names: two containers with the same ones would else wait for
	// each other.
	for _, name := range b.named() {
		v := b.volumes[slices.IndexFunc(b.volumes, func(v volume) bool { return v.name == name })]
		h, err := b.e.Store().Use(ctx, name, func(ctx context.Context, dst *rootfs.Root) error { return img.fill(ctx, dst, v.target) })
		if err != nil {
			return nil, fmt.Errorf("volume %q: %w", name, err)
		}
		held = append(held, h)
	}
	for _, v := range b.volumes {
		if v.name != "" {
			continue
		}
		fill := func(dst *rootfs.Root) error { return img.fill(ctx, dst, v.target) }
		if v.files != nil {
			fill = func(dst *rootfs.Root) error { return dst.In(ctx).Copy(ctx, ".", v.files) }
		}
		if err := nameless(v.dir, fill); err != nil {
			return nil, fmt.Errorf("volume on %q: %w", v.target, err)
		}
	}
	return release, nil
}
