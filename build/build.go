package build

import (
	"context"
	"fmt"
	"io"
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
// the same moment may run twice. When ctx ends, so do the build's commands, and when
// the engine is closed; what was finished by then stays in the cache.
//
// A Dockerfile that can't be built is an [*Error], which says where. What is wrong
// with the options is ctor.ErrInvalid, a base image or a secret that is missing is
// ctor.ErrNotFound, and a host that can't run containers, or has no nf_tables for
// the way out, is ctor.ErrUnavailable. The engine must be one of ctor.Open, else
// the error is ctor.ErrInvalid.
func Build(ctx context.Context, e *ctor.Engine, fsys fs.FS, o *Options) (*image.Image, error) {
	return build(ctx, e, o, func(s *solving) error { s.fsys = fsys; return nil })
}

// Remote is [Build] with a context that is fetched: a git repository, or a tar by
// HTTP, plain or compressed with gzip, bzip2, xz or zstd. Of an HTTP server that sends
// anything else, that is the Dockerfile, without a context. What is fetched is kept
// in the cache, and the server is asked whether it has changed.
//
// The URL of a repository begins with git:// or ssh://, ends with .git, or is
// user@host:path. "#BRANCH:DIRECTORY" behind it chooses a branch, a tag or a commit,
// and a directory in it; [queries] say more. The host's git command fetches it, with
// [Options].SSH for the keys, or the secret GIT_AUTH_TOKEN among Options.Secrets.
//
// The program names the URL, so it is fetched by the host's network, whatever
// Options.Network is. What others name is not: where a server redirects to is
// fetched by way of Options.Network, and a repository's submodules are fetched only
// if that is container.Host(), and else left out. Two things that git does are not
// held back: it follows a redirect of its first request to a repository by the host's
// network, and the key that an ssh server shows when it is first asked is trusted, so
// the network between must be trusted too.
//
// [queries]: https://docs.docker.com/build/concepts/context/#url-queries
func Remote(ctx context.Context, e *ctor.Engine, url string, o *Options) (*image.Image, error) {
	return build(ctx, e, o, func(s *solving) (err error) { s.from, err = newOrigin(url); return err })
}

// Tar is [Build] with a context that is read from a tar, plain or compressed with
// gzip, bzip2, xz or zstd. Tar reads r to its end and does not close it. Anything else
// that r holds is taken for a Dockerfile, with an empty context.
func Tar(ctx context.Context, e *ctor.Engine, r io.Reader, o *Options) (*image.Image, error) {
	return build(ctx, e, o, func(s *solving) error { s.upload(r); return nil })
}

func build(ctx context.Context, e *ctor.Engine, o *Options, from func(*solving) error) (_ *image.Image, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("build: %w", err)
		}
	}()
	complete, err := o.complete()
	if err != nil {
		return nil, err
	}
	s := &solving{o: complete}
	if err := from(s); err != nil {
		return nil, err
	}
	ctx, leave, err := engine.Of(e).Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if s.builder, err = builderOf(e); err != nil {
		return nil, engine.Cause(ctx, err)
	}
	name, err := s.solve(ctx)
	s.sweep()
	if err != nil {
		return nil, engine.Cause(ctx, err)
	}
	return image.Get(ctx, e, name)
}
