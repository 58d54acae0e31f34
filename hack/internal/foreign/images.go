package foreign

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing/fstest"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/ctorhq/ctor/layer"
)

// Files are a layer.
type Files = fstest.MapFS

// nc is a program that ends at SIGTERM as process 1 too, which Debian's does not.
const nc = "#!/bin/sh\ntrap 'exit 143' TERM\nbusybox nc \"$@\" & wait $!\n"

// Busybox has every command of Debian's.
func Busybox() (Files, error) {
	binary, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return nil, fmt.Errorf("%w: apt-get install busybox-static", err)
	}
	commands, err := exec.Command("/bin/busybox", "--list").Output()
	if err != nil {
		return nil, err
	}
	root := Files{
		"bin/busybox": {Data: binary, Mode: 0o755},
		"bin/nc":      {Data: []byte(nc), Mode: 0o755},
		"etc/passwd":  {Data: []byte("root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nsys:x:3:3:sys:/dev:/bin/false\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n"), Mode: 0o644},
		"etc/group":   {Data: []byte("root:x:0:\ndaemon:x:1:\nsys:x:3:\nwww-data:x:33:\nnogroup:x:65534:\n"), Mode: 0o644},
		"root":        {Mode: fs.ModeDir | 0o700},
		"tmp":         {Mode: fs.ModeDir | fs.ModeSticky | 0o777},
	}
	// Or a container with a read-only root could mount nothing there.
	for _, dir := range []string{"dev", "proc", "run", "sys"} {
		root[dir] = &fstest.MapFile{Mode: fs.ModeDir | 0o755}
	}
	for name := range strings.FieldsSeq(string(commands)) {
		if at := "bin/" + name; root[at] == nil {
			root[at] = &fstest.MapFile{Data: []byte("busybox"), Mode: fs.ModeSymlink | 0o777}
		}
	}
	return root, nil
}

// Image is an image for each platform, ready to be pushed: an index of several, and
// of one none.
type Image struct{ parts []part }

type part struct {
	is   ocispec.Descriptor
	data []byte
}

// NewImage packs an image whose first layer has a file of its own for each platform.
func NewImage(ctx context.Context, platforms []ocispec.Platform, layers ...Files) (*Image, error) {
	i := &Image{}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, p := range platforms {
		own := Files{"etc/architecture": {Data: []byte(p.Architecture), Mode: 0o644}}
		maps.Copy(own, layers[0])
		d, err := i.add(ctx, p, append([]Files{own}, layers[1:]...))
		if err != nil {
			return nil, err
		}
		index.Manifests = append(index.Manifests, d)
	}
	if len(platforms) == 1 {
		return i, nil
	}
	_, err := i.object(ocispec.MediaTypeImageIndex, index)
	return i, err
}

// Push pushes the image.
func (i *Image) Push(ctx context.Context, repo *remote.Repository, tag string) error {
	for _, p := range i.parts {
		if err := repo.Push(ctx, p.is, bytes.NewReader(p.data)); err != nil {
			return err
		}
	}
	return repo.Tag(ctx, i.parts[len(i.parts)-1].is, tag)
}

func (i *Image) add(ctx context.Context, p ocispec.Platform, layers []Files) (ocispec.Descriptor, error) {
	image := ocispec.Image{
		Platform: p, RootFS: ocispec.RootFS{Type: "layers"},
		Config: ocispec.ImageConfig{Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Cmd: []string{"sh"}},
	}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, f := range layers {
		id, packed, err := pack(ctx, f)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		d := i.blob(ocispec.MediaTypeImageLayerGzip, packed)
		image.RootFS.DiffIDs, manifest.Layers = append(image.RootFS.DiffIDs, id), append(manifest.Layers, d)
		image.History = append(image.History, ocispec.History{CreatedBy: "made for a test suite"})
	}
	var err error
	if manifest.Config, err = i.object(ocispec.MediaTypeImageConfig, image); err != nil {
		return ocispec.Descriptor{}, err
	}
	d, err := i.object(ocispec.MediaTypeImageManifest, manifest)
	d.Platform = &p
	return d, err
}

func (i *Image) object(mediaType string, v any) (ocispec.Descriptor, error) {
	b, err := json.Marshal(v)
	return i.blob(mediaType, b), err
}

func (i *Image) blob(mediaType string, b []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	i.parts = append(i.parts, part{d, b})
	return d
}

// pack gives a layer's DiffID, and its compressed tar.
func pack(ctx context.Context, f Files) (digest.Digest, []byte, error) {
	l := layer.FromFS(f, nil)
	tar, err := l.Open(ctx)
	if err != nil {
		return "", nil, err
	}
	defer tar.Close()
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if _, err := io.Copy(w, tar); err != nil {
		return "", nil, err
	}
	if err := w.Close(); err != nil {
		return "", nil, err
	}
	return l.DiffID, b.Bytes(), nil
}
