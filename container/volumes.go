package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/events"
	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/volumes"
)

func init() {
	volumes.FS = func(what string, visit volumes.Visit) any {
		return &FS{func() string { return what }, func(ctx context.Context, act func(context.Context, *rootfs.Root) error) error {
			return asClosed(visit(ctx, act))
		}}
	}
}

// attached is a volume in a container.
type attached struct {
	name   string // "": it has none
	dir    string // on the host
	target string
	files  fs.FS // what it holds; nil: what the image has there
}

// maxImageVolumes bounds what an image declares: each is a directory and a mount of
// every container.
const maxImageVolumes = 100

// mounts are those of the container: the volumes that the image declares, and the
// caller's, in order. It notes the volumes.
func (b *builder) mounts(img ocispec.ImageConfig) (all []specs.Mount, err error) {
	declared, err := imageVolumes(img, b.cfg.Mounts)
	if err != nil {
		return nil, err
	}
	nameless := 0
	for _, m := range slices.Concat(declared, b.cfg.Mounts) {
		undo, err := m.createSource()
		if err != nil {
			return nil, err
		}
		b.undo.Push(func() error { undo(); return nil })
		s, err := m.spec()
		if err != nil {
			return nil, err
		}
		if m.Type == Image {
			b.images = append(b.images, shown{len(all), m})
		}
		if m.Type == Volume || m.Type == Files {
			a := attached{name: m.Source, target: s.Destination, files: m.FS}
			if a.name == "" {
				a.dir = b.in.Anonymous(b.id, nameless)
				nameless++
			} else if err := volumes.CheckName(a.name); err != nil {
				return nil, fmt.Errorf("mount on %q: volume: %w", m.Target, err)
			} else {
				a.dir = b.in.Store().Data(a.name)
			}
			s.Source = a.dir
			b.volumes = append(b.volumes, a)
		}
		all = append(all, s)
	}
	return all, nil
}

// imageVolumes are the volumes that an image declares, a directory before those in
// it, but for the places where the caller mounts something.
func imageVolumes(img ocispec.ImageConfig, mounts []Mount) (declared []Mount, err error) {
	if len(img.Volumes) > maxImageVolumes {
		return nil, invalid("the image declares %d volumes, more than %d", len(img.Volumes), maxImageVolumes)
	}
	for _, v := range slices.Sorted(maps.Keys(img.Volumes)) {
		m := Mount{Type: Volume, Target: path.Join("/", v)}
		if slices.ContainsFunc(slices.Concat(declared, mounts), func(o Mount) bool { return path.Clean(o.Target) == m.Target }) {
			continue
		}
		if _, err := m.spec(); err != nil {
			return nil, fmt.Errorf("volume %q that the image declares: %w", v, err)
		}
		declared = append(declared, m)
	}
	return declared, nil
}

// named are the names of the container's volumes, each once.
func (b *builder) named() (names []string) {
	for _, v := range b.volumes {
		if v.name != "" {
			names = append(names, v.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// makeVolumes makes the named ones that are missing.
func (b *builder) makeVolumes(ctx context.Context) error {
	for _, name := range b.named() {
		_, err := b.in.Store().Get(name)
		if err == nil {
			continue
		}
		if errdefs.IsNotFound(err) {
			_, err = b.in.Store().Create(name, nil)
		}
		if errdefs.IsAlreadyExists(err) {
			continue // another call was faster
		}
		if err != nil {
			return fmt.Errorf("volume %q: %w", name, err)
		}
		b.in.Tell(events.Event{Kind: events.Volume, Action: events.Created, Name: name})
		b.push(ctx, func(ctx context.Context) error {
			b.in.Tell(events.Event{Kind: events.Volume, Action: events.Removed, Name: name})
			return b.in.Unmake(ctx, name)
		})
	}
	return nil
}

// useVolumes fills those that are new with what the image has at their targets, and
// keeps the named ones from being removed until release: by then the record says
// that the container has them. layer is the container's, and at a directory to mount
// on.
func (b *builder) useVolumes(ctx context.Context, layer []mount.Mount, at string) (_ func(), err error) {
	img := &imageRoot{open: func() (*rootfs.Root, error) { return b.in.Doors.Snapshot(layer, at) }}
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
		v := b.volumes[slices.IndexFunc(b.volumes, func(v attached) bool { return v.name == name })]
		h, err := b.in.Store().Use(ctx, name, func(ctx context.Context, dst *rootfs.Root) error { return img.fill(ctx, dst, v.target) })
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

// imageRoot is what the image says, which is opened if a volume needs it.
type imageRoot struct {
	open func() (*rootfs.Root, error)
	root *rootfs.Root
}

// fill copies into a volume what the image has where it is mounted.
func (i *imageRoot) fill(ctx context.Context, dst *rootfs.Root, target string) (err error) {
	if i.root == nil {
		if i.root, err = i.open(); err != nil {
			return err
		}
	}
	return dst.Populate(ctx, i.root, target)
}

func (i *imageRoot) Close() error {
	if i.root == nil {
		return nil
	}
	return i.root.Close()
}

// nameless makes a volume that has no name. Nothing half made of it is seen: it goes
// with a container that is not made.
func nameless(dir string, fill func(*rootfs.Root) error) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // whatever the program's umask is
		return err
	}
	root, err := rootfs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(fill(root), root.Close())
}
