package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	resolver "github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	remote "github.com/google/go-containerregistry/pkg/crane"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
)

// ctorPuller is image.Pull.
type ctorPuller struct {
	engine *ctor.Engine
	got    *image.Image
}

func (*ctorPuller) name() string { return "ctor image.Pull" }

func (p *ctorPuller) start(ctx context.Context, b *bench) (err error) {
	p.engine, err = ctor.Open(ctx, ctor.Config{Root: filepath.Join(b.dir, "pull-ctor"), Shim: b.program})
	if err == nil {
		b.later(p.engine.Close)
	}
	return err
}

func (p *ctorPuller) pull(ctx context.Context, ref string) (err error) {
	p.got, err = image.Pull(ctx, p.engine, ref, nil)
	return err
}

func (p *ctorPuller) forget(ctx context.Context, _ string) error {
	if p.got == nil {
		return nil
	}
	return p.got.Remove(ctx)
}

// clientPuller is containerd's client, with its defaults, over containerd's own
// services in this process: a daemon would have each byte pass a socket as well.
type clientPuller struct{ client *client.Client }

func (*clientPuller) name() string { return "containerd client.Pull" }

func (p *clientPuller) start(ctx context.Context, b *bench) (err error) {
	p.client, err = b.stock(ctx, filepath.Join(b.dir, "pull-containerd"))
	return err
}

func (p *clientPuller) pull(ctx context.Context, ref string) error {
	ctx = namespaces.WithNamespace(ctx, "bench")
	plain := resolver.NewResolver(resolver.ResolverOptions{
		Hosts: resolver.ConfigureDefaultRegistries(resolver.WithPlainHTTP(resolver.MatchLocalhost)),
	})
	_, err := p.client.Pull(ctx, ref, client.WithPullUnpack, client.WithResolver(plain))
	return err
}

func (p *clientPuller) forget(ctx context.Context, ref string) error {
	return p.client.ImageService().Delete(namespaces.WithNamespace(ctx, "bench"), ref, images.SynchronousDelete())
}

// dockerPuller is the docker command.
type dockerPuller struct{ server *dockerd }

func (*dockerPuller) name() string { return "docker pull" }

func (p *dockerPuller) start(ctx context.Context, b *bench) (err error) {
	p.server, err = b.needDockerd(ctx)
	return err
}

func (p *dockerPuller) pull(ctx context.Context, ref string) error {
	return p.server.run(ctx, "pull", "--quiet", ref)
}

func (p *dockerPuller) forget(ctx context.Context, ref string) error {
	return p.server.run(ctx, "rmi", ref)
}

// skopeo copies to containers-storage, as podman pulls, or to a directory, which
// is a download without unpacking.
type skopeo struct {
	unpack bool
	path   string
	dir    string
}

func (p *skopeo) name() string {
	if p.unpack {
		return "skopeo copy to containers-storage"
	}
	return "skopeo copy to a layout (no unpacking)"
}

func (p *skopeo) start(_ context.Context, b *bench) (err error) {
	p.dir = filepath.Join(b.dir, "pull-skopeo")
	p.path, err = need("skopeo", "skopeo")
	return err
}

func (p *skopeo) pull(ctx context.Context, ref string) error {
	to := "oci:" + p.dir + ":1"
	if p.unpack {
		to = "containers-storage:[overlay@" + p.dir + "/root+" + p.dir + "/run]" + ref
	}
	return execute(ctx, []string{tmp(filepath.Dir(p.dir))}, p.path, "copy", "--quiet", "--insecure-policy", "--src-tls-verify=false", "docker://"+ref, to)
}

func (p *skopeo) forget(context.Context, string) error {
	// Where the driver has mounted it on itself.
	return errors.Join(unmount(p.dir), os.RemoveAll(p.dir))
}

// crane is go-containerregistry: a download into a layout, without unpacking.
type crane struct{ dir string }

func (*crane) name() string { return "go-containerregistry (no unpacking)" }

func (p *crane) start(_ context.Context, b *bench) error {
	p.dir = filepath.Join(b.dir, "pull-crane")
	return nil
}

func (p *crane) pull(ctx context.Context, ref string) error {
	img, err := remote.Pull(ref, remote.WithContext(ctx), remote.Insecure)
	if err != nil {
		return err
	}
	return remote.SaveOCI(img, p.dir)
}

func (p *crane) forget(context.Context, string) error { return os.RemoveAll(p.dir) }
