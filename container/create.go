package container

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/host"
	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/spec"
	"github.com/ctorhq/ctor/internal/unwind"
)

// New makes an instance of the image whose manifest is given: its own writable
// layer over the image's, and its first process created but not started. Most
// programs call [image.Image.New], which calls this. ref is the name the image
// goes by, for Info.
//
// A command that the image does not have is found here, not by Start.
//
// [image.Image.New]: https://pkg.go.dev/github.com/ctorhq/ctor/image#Image.New
func New(ctx context.Context, e *ctor.Engine, ref string, manifest ocispec.Descriptor, cfg Config) (_ *Container, err error) {
	in := engine.Of(e)
	if cfg.Name == "" && cfg.check() == nil {
		cfg.Name = strings.ToLower(rand.Text()[:16])
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("new container %q of %s: %w", cfg.Name, ref, err)
		}
	}()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Hostname == "" {
		cfg.Hostname = cfg.Name[:min(len(cfg.Name), 64)]
	}
	ctx, leave, err := in.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if in.Embedded {
		if err := host.CheckRunc(); err != nil {
			return nil, err
		}
	}
	b := builder{ctor: e, in: in, cfg: cfg, ref: ref, manifest: manifest}
	c, err := b.build(ctx)
	if err != nil {
		return nil, engine.Cause(ctx, explain(err))
	}
	return c, nil
}

// builder makes a container step by step.
type builder struct {
	ctor     *ctor.Engine
	in       *engine.Engine
	cfg      Config
	ref      string
	manifest ocispec.Descriptor
	undo     unwind.Stack
}

func (b *builder) build(ctx context.Context) (_ *Container, err error) {
	defer b.undo.OnError(&err)
	options, err := b.cfg.options()
	if err != nil {
		return nil, err
	}
	img, chain, err := b.unpack(ctx)
	if err != nil {
		return nil, err
	}
	owner := map[string]string{engine.OwnerLabel: engine.Owner()}
	if b.cfg.Detach {
		owner = map[string]string{detachedLabel: "true"}
	}
	mounts, err := b.snapshot(ctx, chain, owner)
	if err != nil {
		return nil, err
	}
	dir := b.in.Dir(b.cfg.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	b.undo.Push(func() error { return os.RemoveAll(dir) })
	s, err := b.spec(ctx, img, options, mounts, dir)
	if err != nil {
		return nil, err
	}
	record, err := b.record(ctx, img, s, owner)
	if err != nil {
		return nil, err
	}
	c := &Container{ctor: b.ctor, e: b.in, record: record, closed: make(chan struct{})}
	if err := c.create(ctx, b.cfg, dir, &b.undo); err != nil {
		return nil, err
	}
	return c, nil
}

// unpack reads the image's configuration and sees to it that its layers are
// in the snapshotter. It gives the top one.
func (b *builder) unpack(ctx context.Context) (ocispec.Image, string, error) {
	var conf ocispec.Image
	cs := b.in.Client.ContentStore()
	img := containerd.NewImageWithPlatform(b.in.Client, images.Image{Name: b.ref, Target: b.manifest}, platforms.All)
	desc, err := img.Config(ctx)
	if err != nil {
		return conf, "", err
	}
	blob, err := content.ReadBlob(ctx, cs, desc)
	if err != nil {
		return conf, "", err
	}
	if err := json.Unmarshal(blob, &conf); err != nil {
		return conf, "", fmt.Errorf("image configuration: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	if p := conf.Platform; !platforms.Default().Match(p) {
		return conf, "", fmt.Errorf("the image is for %s, this machine runs %s: %w",
			platforms.FormatAll(p), platforms.DefaultString(), errdefs.ErrInvalidArgument)
	}
	chain := identity.ChainID(conf.RootFS.DiffIDs).String()
	if chain == "" {
		return conf, "", nil // an image without layers is an empty directory
	}
	_, err = b.in.Client.SnapshotService(b.in.Snapshotter).Stat(ctx, chain)
	if errdefs.IsNotFound(err) {
		err = b.in.Unpack(ctx, img)
	}
	return conf, chain, err
}

// snapshot makes the writable layer. It is marked as its own root for the
// collector, so that it lives before there is a record that refers to it.
func (b *builder) snapshot(ctx context.Context, chain string, owner map[string]string) ([]mount.Mount, error) {
	sn := b.in.Client.SnapshotService(b.in.Snapshotter)
	labels := map[string]string{"containerd.io/gc.root": time.Now().UTC().Format(time.RFC3339)}
	for k, v := range owner {
		labels[k] = v
	}
	mounts, err := sn.Prepare(ctx, b.cfg.Name, chain, snapshots.WithLabels(labels))
	if errdefs.IsAlreadyExists(err) {
		return nil, fmt.Errorf("the name is taken: %w", errdefs.ErrAlreadyExists)
	}
	if err != nil {
		return nil, fmt.Errorf("prepare snapshot: %w", err)
	}
	b.undo.Push(func() error {
		ctx, cancel := b.in.Cleanup(ctx)
		defer cancel()
		return sn.Remove(ctx, b.cfg.Name)
	})
	return mounts, nil
}

func (b *builder) spec(ctx context.Context, img ocispec.Image, o spec.Options, mounts []mount.Mount, dir string) (*specs.Spec, error) {
	user := b.cfg.User
	if user == "" {
		user = img.Config.User
	}
	root, err := rootfs.Open(mounts)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if o.User, err = spec.User(root, user); err != nil {
		return nil, err
	}
	o.Files = dir
	o.ID = b.cfg.Name
	o.Cgroup = filepath.Join(host.CgroupParent(b.in.Root, b.in.Namespace), b.cfg.Name)
	s, err := spec.New(ctx, img.Config, o)
	if err != nil {
		return nil, err
	}
	if b.cfg.Spec != nil {
		if err := b.cfg.Spec(s); err != nil {
			return nil, fmt.Errorf("Config.Spec: %w", err)
		}
	}
	return s, nil
}

func (b *builder) record(ctx context.Context, img ocispec.Image, s *specs.Spec, owner map[string]string) (containers.Container, error) {
	labels := map[string]string{
		refLabel:         b.ref,
		digestLabel:      b.manifest.Digest.String(),
		stopSignalLabel:  b.cfg.StopSignal,
		stopTimeoutLabel: b.cfg.StopTimeout.String(),
	}
	if b.cfg.StopSignal == "" {
		labels[stopSignalLabel] = img.Config.StopSignal
	}
	if b.cfg.StopTimeout == 0 {
		delete(labels, stopTimeoutLabel)
	}
	for _, m := range []map[string]string{b.cfg.Labels, owner} {
		for k, v := range m {
			labels[k] = v
		}
	}
	encoded, err := typeurl.MarshalAny(s)
	if err != nil {
		return containers.Container{}, err
	}
	store := b.in.Client.ContainerService()
	record, err := store.Create(ctx, containers.Container{
		ID: b.cfg.Name, Labels: labels, Image: b.ref, Spec: encoded,
		Runtime:     containers.RuntimeInfo{Name: b.in.Runtime},
		Snapshotter: b.in.Snapshotter, SnapshotKey: b.cfg.Name,
	})
	if errdefs.IsAlreadyExists(err) {
		return record, fmt.Errorf("the name is taken: %w", errdefs.ErrAlreadyExists)
	}
	if err != nil {
		return record, fmt.Errorf("record: %w", err)
	}
	b.undo.Push(func() error {
		ctx, cancel := b.in.Cleanup(ctx)
		defer cancel()
		return store.Delete(ctx, b.cfg.Name)
	})
	return record, nil
}

// explain gives the runtime's complaints a class and fewer words.
func explain(err error) error {
	text := err.Error()
	if !strings.Contains(text, "OCI runtime create failed") {
		return err
	}
	var class error = errdefs.ErrUnavailable
	switch {
	case strings.Contains(text, "executable file not found"),
		strings.Contains(text, "no such file or directory") && strings.Contains(text, "exec:"):
		class = errdefs.ErrNotFound
	case strings.Contains(text, "exec format error"), strings.Contains(text, "permission denied") && strings.Contains(text, "exec:"),
		strings.Contains(text, "is a directory") && strings.Contains(text, "exec:"):
		class = errdefs.ErrInvalidArgument
	}
	if i := strings.Index(text, "exec: "); i >= 0 {
		return fmt.Errorf("%s: %w", strings.TrimSuffix(strings.TrimSpace(text[i:]), ": unknown"), class)
	}
	return errors.Join(err, class)
}
