package container

import (
	"cmp"
	"context"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/body"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/links"
	"github.com/ctorhq/ctor/internal/span"
	"github.com/ctorhq/ctor/internal/spec"
	"github.com/ctorhq/ctor/internal/stdio"
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
	o := order{ctor: e, in: engine.Of(e), id: newID(), cfg: cfg, ref: ref, manifest: manifest}
	defer func() {
		if err != nil {
			err = fmt.Errorf("new container %q of %s: %w", cmp.Or(cfg.Name, o.id), ref, err)
		}
	}()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return o.make(ctx)
}

// Over makes a container whose files are the caller's, instead of a layer over
// an image's: root says what to mount as its root, such as
//
//	[]specs.Mount{{Type: "bind", Source: "/srv/root", Options: []string{"rbind"}}}
//
// Their Destination is not used. What the container writes is written there, and
// stays when it is closed, and so do the empty files and directories that the
// runtime makes to mount on. image is what an image's configuration would
// say: the environment, the user and the rest, which cfg changes. Everything else
// is as with [New].
//
// The files must be there as long as the container is, and no one else may write
// to an overlay's upper directory. The container is attached: Detach and Keep
// are ctor.ErrInvalid, and so is a root without mounts. A source that is
// missing is ctor.ErrNotFound.
//
// Changes and image.Commit have no image to compare with, and are ctor.ErrInvalid.
func Over(ctx context.Context, e *ctor.Engine, root []specs.Mount, image ocispec.ImageConfig, cfg Config) (_ *Container, err error) {
	o := order{ctor: e, in: engine.Of(e), id: newID(), cfg: cfg}
	defer func() {
		if err != nil {
			err = fmt.Errorf("new container %q over files: %w", cmp.Or(cfg.Name, o.id), err)
		}
	}()
	if cfg.Detach || cfg.Keep {
		return nil, invalid("it can't outlive the program: the files are the program's")
	}
	if cfg.Security.UserNS {
		return nil, invalid("UserNS shows an image's files with the container's users, and these are the program's")
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if o.given, err = body.Over(root, image); err != nil {
		return nil, err
	}
	return o.make(ctx)
}

// order is what a container is to be made of.
type order struct {
	ctor     *ctor.Engine
	in       *engine.Engine
	id       string
	cfg      Config
	ref      string
	manifest ocispec.Descriptor
	given    *body.Given  // nil: the files are those of the manifest's layers
	instead  *replacement // nil: the first process is what the image says
}

// make makes the container, in a call on the engine.
func (o order) make(ctx context.Context) (c *Container, err error) {
	ctx, end := span.Begin(ctx, "create", span.ContainerID.String(o.id), span.Container.String(cmp.Or(o.cfg.Name, o.id)), span.Image.String(o.ref))
	defer end(&err)
	ctx, leave, err := o.in.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	p, err := o.plan()
	if err != nil {
		return nil, err
	}
	err = body.Make(ctx, o.in, p, func(own context.Context, b *body.Body) (err error) {
		c, err = o.begin(ctx, own, b, nil)
		return err
	})
	if err != nil {
		return nil, engine.Cause(ctx, err)
	}
	return c, nil
}

// plan is the order as package body takes it.
func (o order) plan() (p body.Plan, err error) {
	if o.cfg.Restart != RestartNo && o.cfg.Detach && !o.in.Backend.Sole() {
		return p, invalid("restart: over a containerd that runs, no process of ctor's is there to start a detached container again: use Keep, or an engine of ctor.Open")
	}
	if p, err = o.cfg.plan(); err != nil {
		return p, err
	}
	p.ID, p.Ref, p.Manifest, p.Given = o.id, o.ref, o.manifest, o.given
	if o.instead != nil {
		p.Command = &o.instead.command
	}
	return p, nil
}

// begin makes the first process of a body, and what this program has of it. If the
// process is parked already, give gives it its command; a nil give has a new one made.
func (o order) begin(ctx, own context.Context, b *body.Body, give create) (*Container, error) {
	c := o.container(b)
	if give == nil {
		give = c.onto(b.Root)
	}
	l, err := c.create(own, give, o.instead, &b.Undo)
	if err != nil {
		return nil, err
	}
	c.setLife(l)
	b.Undo.Push(func() error { c.links.Unpublish(); return nil })
	for _, p := range o.cfg.Publish {
		if err := c.links.Publish(own, links.Port(p)); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c, c.adopt(own)
}

// container is what this program has of a body before it has a process.
func (o order) container(b *body.Body) *Container {
	c := newContainer(o.ctor, o.in, b.Record)
	outline := b.Outline()
	c.outline = func() (*spec.Outline, error) { return outline, nil }
	c.links.Take(o.cfg.Network.plan, b.Members)
	c.handed = o.instead != nil
	if o.given != nil {
		c.root = o.given.Root
	}
	c.stdio = engine.Stdio{In: stdio.NewInput(o.cfg.Stdin), Out: o.cfg.Stdout, Err: o.cfg.Stderr}
	return c
}
