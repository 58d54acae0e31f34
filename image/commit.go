package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/reference"
	"github.com/ctorhq/ctor/layer"
)

// CommitOptions change how Commit works. nil is the zero value.
type CommitOptions struct {
	// Edit changes the configuration that the new image inherits. nil leaves
	// it as the container's image has it.
	Edit func(*ocispec.ImageConfig)

	// Author and Message go into the image's history; "" is left out.
	Author, Message string

	// NoPause leaves a running container running, at the risk of an image of
	// half-written files. false pauses it.
	// Where containers can't be paused, as in a user namespace without cgroups, Commit
	// needs it.
	NoPause bool

	// Compression says how the new layer is stored; zero is gzip.
	Compression layer.Compression
}

// Commit makes an image of a container: its own image plus one layer, what
// [container.Container.Changes] lists, and stores it as ref. What the container
// deleted is there as whiteouts (OCI image-spec, layer.md, "Whiteouts"). What is
// in mounts is not part of it, nor what the runtime has made to mount on. A file
// with holes of a gibibyte or more, such as a lastlog of large user ids, is in the
// layer as a sparse one (GNU's format 1.0), which some tools can't read; its
// holes are not read.
//
// A running container is paused meanwhile, and goes on when Commit returns,
// whatever ctx or the engine have come to. No life of it begins meanwhile: a restart
// policy waits, and Start is ctor.ErrInvalid. One that has ended can be committed
// until it is closed. A ref that the container itself was made by may be taken again and
// again: the container keeps the image that it is an instance of.
//
// A ref that can't be read is ctor.ErrInvalid, and so is a file whose name
// begins with ".wh.", which a layer can't have; a container that is closed, or
// whose image is gone from the store, is ctor.ErrNotFound.
func Commit(ctx context.Context, c *container.Container, ref string, o *CommitOptions) (_ *Image, err error) {
	defer wrap(&err, fmt.Sprintf("commit container %q as", c.Name()), ref)
	if o == nil {
		o = &CommitOptions{}
	}
	r, err := reference.Parse(ref)
	if err != nil {
		return nil, err
	}
	ctx, base, info, end, err := capture(ctx, c)
	if err != nil {
		return nil, err
	}
	defer end(&err)
	if err := keepClass(ctx, c, info, r); err != nil {
		return nil, err
	}
	if o.NoPause {
		return base.commit(ctx, c.ID(), r, o)
	}
	return base.commitStill(ctx, c, r, o)
}

// commitStill is commit while the container does nothing.
func (i *Image) commitStill(ctx context.Context, c *container.Container, r reference.Reference, o *CommitOptions) (made *Image, err error) {
	err = still(ctx, c, func(ctx context.Context) (err error) {
		made, err = i.commit(ctx, c.ID(), r, o)
		return err
	})
	return made, err
}

// keepClass keeps the image of a container whose name is about to mean another one.
func keepClass(ctx context.Context, c *container.Container, info container.Info, r reference.Reference) error {
	if info.ImageRef != r.String() {
		return nil
	}
	return engine.Of(c.Engine()).KeepOrigin(ctx, c.ID(), info.Image)
}

// capture begins a call that makes an image of a container, of which there is one at a
// time: a Fork may change what the container is an instance of, and a pause is one
// call's. base is the image that it is an instance of now. end is for defer.
func capture(ctx context.Context, c *container.Container) (_ context.Context, base *Image, info container.Info, end func(*error), err error) {
	e, key := engine.Of(c.Engine()), "origin "+c.ID()
	if err := e.Lock(ctx, key); err != nil {
		return nil, nil, info, nil, err
	}
	ended := func(*error) { e.Unlock(key) }
	defer func() {
		if err != nil {
			ended(&err)
		}
	}()
	if info, err = c.Info(ctx); err != nil {
		return nil, nil, info, nil, err
	}
	ctx, finish, err := begin(ctx, e)
	if err != nil {
		return nil, nil, info, nil, err
	}
	ended = func(err *error) {
		finish(err)
		e.Unlock(key)
	}
	base, err = classOf(ctx, c, info)
	return ctx, base, info, ended, err
}

// still has do done while a container does nothing: it is paused if it runs, and does not
// begin to.
func still(ctx context.Context, c *container.Container, do func(context.Context) error) error {
	return engine.Hold(ctx, c, func(ctx context.Context) (err error) {
		info, err := c.Info(ctx)
		if err != nil {
			return err
		}
		resume := func(*error) {}
		if info.State == container.Running {
			if resume, err = pause(ctx, c); err != nil {
				return err
			}
		}
		defer resume(&err)
		return do(ctx)
	})
}

// pause freezes a container until resume. The task itself is told to go on: the
// container's own methods would refuse when the engine is about to close.
func pause(ctx context.Context, c *container.Container) (resume func(*error), err error) {
	in := engine.Of(c.Engine())
	record, err := in.Client.LoadContainer(ctx, c.ID())
	if err != nil {
		return nil, err
	}
	task, err := record.Task(ctx, nil)
	if err != nil {
		return nil, err
	}
	if err := task.Pause(ctx); err != nil {
		// It may have ended by itself just now, or a pause that ctx cut short
		// may have happened.
		if now, ierr := c.Info(context.WithoutCancel(ctx)); ierr == nil && now.State == container.Exited {
			return func(*error) {}, nil
		}
		ctx, cancel := in.Cleanup(ctx)
		defer cancel()
		_ = task.Resume(ctx)
		return nil, fmt.Errorf("pause: %w", err)
	}
	return func(err *error) {
		ctx, cancel := in.Cleanup(ctx)
		defer cancel()
		if rerr := task.Resume(ctx); rerr != nil && !errdefs.IsNotFound(rerr) {
			*err = errors.Join(*err, fmt.Errorf("resume: %w", rerr))
		}
	}, nil
}

// classOf finds the image that a container is an instance of.
func classOf(ctx context.Context, c *container.Container, info container.Info) (*Image, error) {
	r, err := reference.Parse(info.ImageRef)
	if err != nil {
		return nil, err
	}
	d := digest.Digest(info.Image)
	st, err := engine.Of(c.Engine()).Client.ContentStore().Info(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("its image %s is gone: %w", info.ImageRef, err)
	}
	// The record doesn't say whether it is OCI's or Docker's, and it makes no
	// difference to what is read.
	i, err := load(ctx, c.Engine(), r, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: d, Size: st.Size}, nil)
	if err == nil {
		err = i.hold(ctx)
	}
	return i, err
}

func (i *Image) commit(ctx context.Context, id string, r reference.Reference, o *CommitOptions) (_ *Image, err error) {
	record, err := i.e.Client.ContainerService().Get(ctx, id)
	if err != nil {
		return nil, err
	}
	diff, end, err := i.e.Diff(ctx, record)
	if err != nil {
		return nil, fmt.Errorf("changes: %w", err)
	}
	defer func() { err = errors.Join(err, end()) }()
	m := newMaker(i)
	defer m.cs.abort(ctx)
	tar := digest.Canonical.Digester()
	d, err := m.store(ctx, o.Compression, func(w io.Writer) (digest.Digest, error) {
		err := diff.Pack(ctx, io.MultiWriter(w, tar.Hash()))
		return tar.Digest(), err
	})
	if err != nil {
		return nil, fmt.Errorf("changes: %w", err)
	}
	now := time.Now().UTC()
	spec := i.Spec()
	spec.Created, spec.Author = &now, o.Author
	if o.Edit != nil {
		o.Edit(&spec.Config)
	}
	spec.History = m.config.History
	m.config.edit(spec)
	m.append(d, tar.Digest(), ocispec.History{Created: &now, Author: o.Author, Comment: o.Message})
	return m.finish(ctx, r)
}
