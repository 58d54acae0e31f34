package image

import "github.com/ctorhq/ctor/container"

// Mount is what the image holds, for a container's Config, at target: data, tools or
// a model that need no volume. It can't be written to. The container keeps its
// layers, also when the image is removed, and all containers share them.
func (i *Image) Mount(target string) container.Mount {
	return container.Mount{Type: container.Image, Source: i.Ref(), Manifest: i.manifest, Target: target}
}
