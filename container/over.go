package container

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/mount"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
)

// given is what a container over files of the caller's is made of.
type given struct {
	root  []mount.Mount
	class engine.Class
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
	in := engine.Of(e)
	b := builder{ctor: e, in: in, id: newID(), cfg: cfg}
	defer func() {
		if err != nil {
			err = fmt.Errorf("new container %q over files: %w", cmp.Or(cfg.Name, b.id), err)
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
	b.over = &given{class: engine.Class{Image: ocispec.Image{Config: image}}}
	if b.over.root, err = rootMounts(root); err != nil {
		return nil, err
	}
	return b.make(ctx)
}

// rootMounts checks the mounts that make the root.
func rootMounts(root []specs.Mount) (list []mount.Mount, err error) {
	if len(root) == 0 {
		return nil, invalid("nothing is to be mounted as its root")
	}
	for _, m := range root {
		if m.Type == "bind" {
			if !filepath.IsAbs(m.Source) {
				return nil, invalid("the source %q must be an absolute path", m.Source)
			}
			st, err := os.Stat(m.Source)
			if os.IsNotExist(err) {
				return nil, fmt.Errorf("source: %w: %w", err, ctor.ErrNotFound)
			}
			if err != nil || !st.IsDir() {
				return nil, invalid("the source %q must be a directory", m.Source)
			}
		}
		list = append(list, mount.Mount{Type: m.Type, Source: m.Source, Options: m.Options})
	}
	return list, nil
}
