package build

import (
	"context"
	"fmt"
	"io/fs"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/engine"
)

// Build makes an image from a Dockerfile and the directory that it is about, its
// context, into the engine's store. fsys is the context: os.DirFS, an embed.FS, the
// files of an image, or any other. Of it only what the Dockerfile asks for is read,
// and nothing that .dockerignore names. Its files are root's in the image; fsys must
// not change meanwhile.
//
// Any number of builds may run at once on one engine. A step that two of them need at
// the same moment may run twice. When ctx ends, so do the build's commands, and when the engine is closed;
// what was finished by then stays in the cache.
//
// A Dockerfile that can't be built is an [*Error], which says where. What is wrong
// with the options is ctor.ErrInvalid, a base image or a secret that is missing is
// ctor.ErrNotFound, and a host that can't run containers, or has no nf_tables for
// the way out, is ctor.ErrUnavailable. The engine must be one of ctor.Open, else
// the error is ctor.ErrInvalid.
func Build(ctx context.Context, e *ctor.Engine, fsys fs.FS, o *Options) (_ *image.Image, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("build: %w", err)
		}
	}()
	complete, err := o.complete()
	if err != nil {
		return nil, err
	}
	ctx, leave, err := engine.Of(e).Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	b, err := builderOf(e)
	if err != nil {
		return nil, engine.Cause(ctx, err)
	}
	s := &solving{builder: b, o: complete, fsys: fsys}
	name, err := s.solve(ctx)
	b.sweep()
	if err != nil {
		return nil, engine.Cause(ctx, err)
	}
	return image.Get(ctx, e, name)
}
