package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// shape is an image by its number of layers and what each unpacks to.
type shape struct {
	layers, mib int
	packing     string // gzip or zstd
}

// shapes are those that are pulled: one large layer, some middling ones, many
// small ones.
func shapes(scale float64) (all []shape) {
	for _, packing := range []string{"gzip", "zstd"} {
		for _, s := range []shape{{layers: 1, mib: 400}, {layers: 10, mib: 100}, {layers: 60, mib: 2}} {
			all = append(all, shape{s.layers, max(1, int(float64(s.mib)*scale)), packing})
		}
	}
	return all
}

func (s shape) name() string { return fmt.Sprintf("%dx%d-%s", s.layers, s.mib, s.packing) }

// store makes the image in a directory: its blobs, and its manifest as "manifest".
func (s shape) store(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files, err := toolchain(ctx)
	if err != nil {
		return err
	}
	config := ocispec.Image{
		Platform: ocispec.Platform{Architecture: runtime.GOARCH, OS: "linux"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: make([]digest.Digest, s.layers)},
	}
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Layers: make([]ocispec.Descriptor, s.layers),
	}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(runtime.GOMAXPROCS(0))
	for n := range s.layers {
		work.Go(func() (err error) {
			manifest.Layers[n], config.RootFS.DiffIDs[n], err = s.layer(ctx, dir, n, files)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	if manifest.Config, err = document(dir, ocispec.MediaTypeImageConfig, config); err != nil {
		return err
	}
	top, err := document(dir, ocispec.MediaTypeImageManifest, manifest)
	if err != nil {
		return err
	}
	return os.Link(filepath.Join(dir, top.Digest.Encoded()), filepath.Join(dir, "manifest"))
}

func document(dir, mediaType string, v any) (ocispec.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	return d, os.WriteFile(filepath.Join(dir, d.Digest.Encoded()), b, 0o644)
}

// layer writes one layer: no two are alike.
func (s shape) layer(ctx context.Context, dir string, n int, files []source) (d ocispec.Descriptor, diffID digest.Digest, err error) {
	f, err := os.CreateTemp(dir, "layer")
	if err != nil {
		return d, "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	blob, plain := sha256.New(), sha256.New()
	out := io.MultiWriter(f, blob)
	var packed io.WriteCloser
	d.MediaType = ocispec.MediaTypeImageLayer + "+" + s.packing
	if s.packing == "zstd" {
		packed, err = zstd.NewWriter(out)
	} else {
		packed, err = gzip.NewWriterLevel(out, gzip.DefaultCompression)
	}
	if err != nil {
		return d, "", err
	}
	if err := s.tree(ctx, io.MultiWriter(packed, plain), n, files); err != nil {
		return d, "", err
	}
	if err := packed.Close(); err != nil {
		return d, "", err
	}
	if d.Size, err = f.Seek(0, io.SeekCurrent); err != nil {
		return d, "", err
	}
	d.Digest = sum(blob)
	return d, sum(plain), os.Rename(f.Name(), filepath.Join(dir, d.Digest.Encoded()))
}

func sum(h hash.Hash) digest.Digest { return digest.NewDigest(digest.SHA256, h) }

// source is a file that layers are made of.
type source struct {
	path string // on the host
	name string
	info fs.FileInfo
}

// toolchain gives the Go toolchain's files: sources, and programs. Each machine
// that can run this has them, and they pack like an image's.
func toolchain(ctx context.Context) (all []source, err error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	top, err := filepath.EvalSymlinks(string(bytes.TrimSpace(root)))
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(top, func(at string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		all = append(all, source{at, strings.TrimPrefix(at, top+"/"), info})
		return err
	})
	return all, err
}

// tree writes a tar of as many files as it takes, beginning at another one in
// each layer.
func (s shape) tree(ctx context.Context, to io.Writer, n int, files []source) error {
	w := tar.NewWriter(to)
	made := map[string]bool{}
	left := int64(s.mib) << 20
	for at := n * 997; left > 0; at++ {
		f := files[at%len(files)]
		name := path.Join("opt", fmt.Sprintf("go-%d-%d", n, at/len(files)), f.name)
		if f.info.Size() > left {
			left -= 1 << 10
			continue
		}
		if err := errors.Join(ctx.Err(), parents(w, path.Dir(name), made)); err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: int64(f.info.Mode().Perm()), Size: f.info.Size(), ModTime: f.info.ModTime()}); err != nil {
			return err
		}
		content, err := os.Open(f.path)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, content)
		if err = errors.Join(err, content.Close()); err != nil {
			return err
		}
		left -= f.info.Size() + 1024
	}
	return w.Close()
}

// parents lists the directories of a file, each once.
func parents(w *tar.Writer, dir string, made map[string]bool) error {
	if dir == "." || made[dir] {
		return nil
	}
	made[dir] = true
	if err := parents(w, path.Dir(dir), made); err != nil {
		return err
	}
	return w.WriteHeader(&tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755})
}
