package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing/fstest"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/layer"
)

// ref is the image that every peer runs.
const ref = "docker.io/library/ctor-bench:1"

// material is what peers are given to run.
type material struct {
	archive string // docker load and ctr image import read it
	rootfs  string // a directory with the image's files, for those without images
	spec    []byte // the OCI configuration that ctor makes for it
}

// imageFiles are busybox, which needs no libraries, and the names it goes by.
func imageFiles() (fstest.MapFS, error) {
	binary, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return nil, fmt.Errorf("images are made of busybox: apt-get install busybox-static: %w", err)
	}
	files := fstest.MapFS{
		"bin/busybox": {Data: binary, Mode: 0o755},
		"etc/passwd":  {Data: []byte("root:x:0:0:root:/root:/bin/sh\n"), Mode: 0o644},
		"etc/group":   {Data: []byte("root:x:0:\n"), Mode: 0o644},
	}
	for _, name := range []string{"true", "sh", "sleep", "cat", "echo"} {
		files["bin/"+name] = &fstest.MapFile{Data: []byte("busybox"), Mode: fs.ModeSymlink | 0o777}
	}
	// bwrap makes no mount points in what it may not write.
	for _, name := range []string{"dev", "proc", "root", "sys", "tmp"} {
		files[name] = &fstest.MapFile{Mode: fs.ModeDir | 0o755}
	}
	return files, nil
}

// putImage makes the image in an engine's store.
func putImage(ctx context.Context, e *ctor.Engine) (*image.Image, error) {
	files, err := imageFiles()
	if err != nil {
		return nil, err
	}
	return image.New(ctx, e, ref, ocispec.ImageConfig{
		Env: []string{"PATH=/bin"},
		Cmd: []string{"true"},
	}, layer.FromFS(files, &layer.Options{CreatedBy: "busybox-static"}))
}

// makeImage has ctor make the image, and what others need of it.
func (b *bench) makeImage(ctx context.Context) (_ *material, err error) {
	e, err := ctor.Open(ctx, ctor.Config{Root: filepath.Join(b.dir, "image"), Shim: b.program})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	img, err := putImage(ctx, e)
	if err != nil {
		return nil, err
	}
	m := &material{archive: filepath.Join(b.dir, "image.tar"), rootfs: filepath.Join(b.dir, "rootfs")}
	f, err := os.Create(m.archive)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(image.Export(ctx, f, img), f.Close()); err != nil {
		return nil, err
	}
	files, err := imageFiles()
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(m.rootfs, files); err != nil {
		return nil, err
	}
	m.spec, err = specOf(ctx, img)
	return m, err
}

// specOf gives the configuration that ctor writes for a container.
func specOf(ctx context.Context, img *image.Image) ([]byte, error) {
	var spec []byte
	c, err := img.New(ctx, container.Config{Spec: func(s *specs.Spec) (err error) {
		spec, err = json.Marshal(s)
		return err
	}})
	if err != nil {
		return nil, err
	}
	return spec, c.Close()
}
