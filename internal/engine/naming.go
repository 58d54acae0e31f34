package engine

import (
	"context"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/events"
)

// Naming keeps other calls of this program from changing what an image's name means,
// until unlock. Over a containerd that runs, other programs can.
func (e *Engine) Naming(ctx context.Context, name string) (unlock func(), err error) {
	key := "image " + name
	if err := e.Lock(ctx, key); err != nil {
		return nil, err
	}
	return func() { e.Unlock(key) }, nil
}

// NameImage makes a name stand for a descriptor, whatever it has meant before.
func (e *Engine) NameImage(ctx context.Context, name string, target ocispec.Descriptor) error {
	unlock, err := e.Naming(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	is := e.Client.ImageService()
	record := images.Image{Name: name, Target: target}
	for {
		_, err := is.Create(ctx, record)
		if errdefs.IsAlreadyExists(err) {
			_, err = is.Update(ctx, record, "target")
			if errdefs.IsNotFound(err) {
				continue // it was removed just now
			}
		}
		if err == nil {
			e.Tell(events.Event{Kind: events.Image, Action: events.Named, Name: name, Image: target.Digest.String()})
		}
		return err
	}
}
