package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/lan"
	"github.com/ctorhq/ctor/internal/span"
	"github.com/ctorhq/ctor/internal/spec"
	"github.com/ctorhq/ctor/internal/stdio"
	"github.com/ctorhq/ctor/internal/unwind"
)

// New makes an instance of the image whose manifest is given: its own writable
// layer over the image's, and its first process created but not started. Most
// programs call [image.Image.New], which calls this. ref is the name the image
// goes by, for Info.
//
// Bad fields of cfg are ctor.ErrInvalid, a name that is taken is
// ctor.ErrAlreadyExists, and a command, user or mount source that does not
// exist is ctor.ErrNotFound; errors.Is finds exec.ErrNotFound as well in the
// error of a command. What the image alone can tell of a command is found here,
// not by Start. A host that can't run containers is ctor.ErrUnavailable.
//
// When New fails, or ctx ends before it returns, nothing is left of the
// container. The runtime can't be stopped halfway, so New may go on for about
// 50 milliseconds, and then undo.
//
// [image.Image.New]: https://pkg.go.dev/github.com/ctorhq/ctor/image#Image.New
func New(ctx context.Context, e *ctor.Engine, ref string, manifest ocispec.Descriptor, cfg Config) (_ *Container, err error) {
	in := engine.Of(e)
	b := builder{ctor: e, in: in, id: newID(), cfg: cfg, ref: ref, manifest: manifest}
	defer func() {
		if err != nil {
			err = fmt.Errorf("new container %q of %s: %w", cmp.Or(cfg.Name, b.id), ref, err)
		}
	}()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return b.make(ctx)
}

// builder makes a container step by step.
type builder struct {
	ctor     *ctor.Engine
	in       *engine.Engine
	id       string
	cfg      Config
	ref      string
	manifest ocispec.Descriptor
	over     *given        // nil: the files are those of the manifest's layers
	instead  *replacement  // nil: the first process is what the image says
	parked   bool          // the first process gets its command later
	made     *specs.Spec   // what a warm instance was made by; nil: nothing was made before
	members  []*lan.Member // of its networks
	volumes  []attached    // in the order of their mounts
	images   []shown       // likewise
	project  uint32        // of the quota of its disk; 0: it has none
	watched  int64         // the bound of its disk that is watched; 0: it has none
	users    uint32        // the first of its own; 0: it has the host's
	undo     unwind.Stack
}

// make makes the container, in a call on the engine.
func (b *builder) make(ctx context.Context) (_ *Container, err error) {
	ctx, end := span.Begin(ctx, "create", span.ContainerID.String(b.id), span.Container.String(cmp.Or(b.cfg.Name, b.id)), span.Image.String(b.ref))
	defer end(&err)
	ctx, leave, err := b.in.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := b.ready(); err != nil {
		return nil, err
	}
	if b.cfg.Restart != RestartNo && b.cfg.Detach && !b.in.Backend.Sole() {
		return nil, invalid("restart: over a containerd that runs, no process of ctor's is there to start a detached container again: use Keep, or an engine of ctor.Open")
	}
	c, err := b.build(ctx)
	if err != nil {
		return nil, engine.Cause(ctx, err)
	}
	return c, nil
}

// ready tells what the host lacks, and settles what is owed.
func (b *builder) ready() error {
	if b.in.Preflight != nil {
		if err := b.in.Preflight(); err != nil {
			return err
		}
	}
	_ = b.in.Settle() // what still can't be undone is told by the engine's Close
	return nil
}

func (b *builder) build(ctx context.Context) (_ *Container, err error) {
	built := false
	defer func() {
		// Not by err alone: Config.Spec may panic.
		if !built {
			err = errors.Join(err, b.undo.Run())
		}
	}()
	// What comes after parts is cut off between the steps: what a step has left that
	// was cut off is not known, so it could not be undone.
	own, cancel := b.own(ctx)
	defer cancel()
	p, err := b.parts(ctx, own)
	if err != nil {
		return nil, err
	}
	defer p.release()
	r, err := b.record(p)
	if err != nil {
		return nil, err
	}
	if r, err = b.in.Client.ContainerService().Create(own, r); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	c, err := b.instance(ctx, own, r, p, nil)
	built = err == nil
	return c, err
}

// parts is what a container has before it has a record.
type parts struct {
	class   engine.Class
	mounts  []mount.Mount // of its layer
	options spec.Options
	spec    *specs.Spec
	release func() // of its volumes, when its record names them
}

// parts makes them.
func (b *builder) parts(ctx, own context.Context) (p parts, err error) {
	if err := b.asked(ctx, &p); err != nil {
		return p, err
	}
	if err := b.makeVolumes(own); err != nil {
		return p, err
	}
	b.push(own, func(ctx context.Context) error {
		return b.in.Remove(ctx, containers.Container{ID: b.id, Snapshotter: b.in.Snapshotter})
	})
	if err := b.in.Claim(own, b.id, b.cfg.Name, b.cfg.lasting()); err != nil {
		return p, err
	}
	if err := b.takeUsers(own, &p.options); err != nil {
		return p, err
	}
	if !b.parked {
		if err := b.enterNetworks(b.cfg.name(b.id)); err != nil {
			return p, err
		}
	}
	if p.mounts, err = b.layer(ctx, p.class); err != nil {
		return p, err
	}
	if b.usual() {
		b.in.Expect(own, b.id, b.in.OverPoints(p.mounts))
	}
	if err := b.showImages(ctx, p.options.Mounts); err != nil {
		return p, err
	}
	dir, err := b.dir()
	if err != nil {
		return p, err
	}
	if p.spec, err = b.spec(ctx, &p, dir); err != nil {
		return p, err
	}
	if err := spec.OutlineOf(p.spec).Shift(p.mounts); err != nil {
		return p, err
	}
	if p.release, err = b.useVolumes(ctx, p.mounts, dir); err != nil {
		return p, err
	}
	if err := b.boundDisk(own, p.mounts); err != nil {
		p.release()
		return p, err
	}
	if err := ctx.Err(); err != nil {
		p.release()
		return p, err
	}
	return p, nil
}

// usual tells whether what makes the container can begin with what is known by now: it has
// namespaces of its own, and its root stays as it is. A bound of its disk is set on the
// layer's directories before they are mounted.
func (b *builder) usual() bool {
	own := !b.cfg.Security.UserNS && len(b.cfg.Network.whole) == 0 && b.cfg.Spec == nil
	return own && b.over == nil && b.cfg.Limits.Disk == 0 && !b.cfg.Keep && !b.cfg.Detach
}

// asked is what the image and the caller want, before anything is made.
func (b *builder) asked(ctx context.Context, p *parts) (err error) {
	if p.options, err = b.cfg.options(b.id); err != nil {
		return err
	}
	if p.class, err = b.class(ctx); err != nil {
		return err
	}
	image := p.class.Image.Config
	if b.parked && len(p.options.Args)+len(p.options.Entrypoint)+len(image.Entrypoint)+len(image.Cmd) == 0 {
		p.options.Args = []string{"none"} // until there is one
	}
	p.options.Mounts, err = b.mounts(image)
	return err
}

// instance makes the first process of the container whose record is r, and what
// this program has of it. A nil give is that the process is not there yet; else it is
// parked, and gets its command by it.
func (b *builder) instance(ctx, own context.Context, r containers.Container, p parts, give create) (*Container, error) {
	c := b.container(r, p)
	if give == nil {
		give = c.onto(p.mounts)
	}
	l, err := c.create(own, give, b.instead, &b.undo)
	if err != nil {
		return nil, err
	}
	c.setLife(l)
	b.undo.Push(func() error { c.unpublish(); return nil })
	if err := c.publish(own, b.cfg.Publish); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c, c.adopt(own)
}

// container is what this program has of it before it has a process.
func (b *builder) container(r containers.Container, p parts) *Container {
	c := newContainer(b.ctor, b.in, r)
	o := spec.OutlineOf(p.spec)
	c.outline = func() (*spec.Outline, error) { return o, nil }
	c.network, c.links.members = b.cfg.Network, b.members
	c.handed = b.instead != nil
	if b.over != nil {
		c.root = b.over.root
	}
	if d := b.cfg.Network.dial; d != nil {
		c.out.Store(&d)
	}
	c.stdio = engine.Stdio{In: stdio.NewInput(b.cfg.Stdin), Out: b.cfg.Stdout, Err: b.cfg.Stderr}
	return c
}

// Limits for a daemon that hangs. A snapshotter that copies the image may well
// need minutes.
const (
	makeLimit = 10 * time.Minute
	cutLimit  = 30 * time.Second // once ctx has ended
)

// own is the context of steps that go on when ctx ends, but not for long.
func (b *builder) own(ctx context.Context) (context.Context, context.CancelFunc) {
	own, cancel := context.WithTimeout(b.in.Context(context.WithoutCancel(ctx)), makeLimit)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(cutLimit, cancel) })
	return own, func() {
		stop()
		cancel()
	}
}

func (b *builder) source() containerd.Image {
	return containerd.NewImageWithPlatform(b.in.Client, images.Image{Name: b.ref, Target: b.manifest}, platforms.All)
}

// class reads the image's configuration.
func (b *builder) class(ctx context.Context) (engine.Class, error) {
	if b.over != nil {
		return b.over.class, nil
	}
	class, err := b.in.Class(ctx, b.source())
	if err != nil {
		return class, err
	}
	p := class.Image.Platform
	if b.manifest.Platform != nil {
		p = *b.manifest.Platform // as its index says
	}
	if !platforms.Default().Match(p) {
		return class, fmt.Errorf("the image is for %s, this machine runs %s: %w",
			platforms.FormatAll(p), platforms.DefaultString(), errdefs.ErrInvalidArgument)
	}
	return class, nil
}

// layer makes the writable layer over the image's layers. ctx can cut off their
// unpacking, but not the making.
func (b *builder) layer(ctx context.Context, class engine.Class) (mounts []mount.Mount, err error) {
	if b.over != nil {
		return b.over.root, nil
	}
	err = b.in.WithLayers(ctx, b.source(), class.Image.RootFS.DiffIDs, func(ctx context.Context, chain string) error {
		own, cancel := b.own(ctx)
		defer cancel()
		mounts, err = b.snapshot(own, chain)
		return err
	})
	return mounts, err
}

// snapshot makes the writable layer.
func (b *builder) snapshot(ctx context.Context, chain string) ([]mount.Mount, error) {
	sn := b.in.Client.SnapshotService(b.in.Snapshotter)
	mounts, err := sn.Prepare(ctx, b.id, chain, snapshots.WithLabels(engine.LayerLabels(b.id, b.cfg.lasting())))
	if err != nil {
		return nil, fmt.Errorf("prepare snapshot: %w", err)
	}
	return mounts, nil
}

// push adds a step to undo, with a context of its own.
func (b *builder) push(ctx context.Context, undo func(context.Context) error) {
	b.undo.Push(func() error {
		ctx, cancel := b.in.Cleanup(ctx)
		defer cancel()
		return undo(ctx)
	})
}

// dir makes the directory for the container's files.
func (b *builder) dir() (string, error) {
	dir := b.in.Dir(b.id)
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return "", err
	}
	return dir, os.Mkdir(dir, 0o700)
}
