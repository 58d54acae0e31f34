package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"testing/fstest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/layer"
	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

const helloWorld = "docker.io/library/hello-world:latest"

// greeting is what the program in the image prints.
const greeting = `
Hello from ctor!
This text was written by a program in a container, so your machine runs
containers, and it took no daemon to do it.

What happened:
 1. hello looked for the image hello-world in its own store.
 2. If it was not there, hello pulled it from a registry, layer by layer, and
    checked every byte against its digest. The second time there is nothing
    to pull.
 3. It made an instance of the image: a container with a writable layer, a
    network and a process table of its own.
 4. The instance runs, and writes this; hello passes it on to you.
 5. When the instance has ended, hello removes it: no process, mount or cgroup
    stays.

To try something more ambitious:
    hello docker.io/library/alpine:3.22 uname -a

`

// self runs an image that it makes and serves itself.
func (h *hello) self(ctx context.Context, root string) (err error) {
	// A namespace of its own: our hello-world must not pass for the one that
	// "hello hello-world" would pull.
	e, err := ctor.Open(ctx, ctor.Config{Root: root, Namespace: "hello"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	var hub hub
	defer func() { err = errors.Join(err, hub.close()) }()
	img, err := h.find(ctx, e, helloWorld, func() (*registry.Options, error) {
		return hub.open(ctx, h.wrap)
	})
	if err != nil {
		return err
	}
	return h.instance(ctx, img, container.Config{})
}

// hub is a registry on loopback that plays the part of Docker Hub. The zero
// value is closed.
type hub struct {
	server *http.Server
	ended  chan struct{}
}

// open starts the registry with hello-world in it, and gives what reaches it.
func (b *hub) open(ctx context.Context, wrap func(http.Handler) http.Handler) (*registry.Options, error) {
	handler, err := registrytest.Handler(nil)
	if err != nil {
		return nil, err
	}
	if wrap != nil {
		handler = wrap(handler)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve a registry: %w", err)
	}
	b.server = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	b.ended = make(chan struct{})
	go func() {
		defer close(b.ended)
		_ = b.server.Serve(l) // until close
	}()
	// Whatever host a reference names, these options reach this registry and
	// no other, so references can keep the names that people know.
	o := &registry.Options{
		PlainHTTP: true,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
			},
		},
		Credentials: func(context.Context, string) (registry.Credential, error) {
			return registry.Credential{}, nil // the user's are nobody's business here
		},
	}
	if err := publish(ctx, o); err != nil {
		return nil, fmt.Errorf("publish hello-world: %w", err)
	}
	return o, nil
}

func (b *hub) close() error {
	if b.server == nil {
		return nil
	}
	err := b.server.Close()
	<-b.ended
	return err
}

// publish makes hello-world and pushes it. It does so in an engine of its own,
// or the image would be in the store that it is to be pulled into.
func publish(ctx context.Context, to *registry.Options) (err error) {
	program, err := greetingELF(runtime.GOARCH, greeting)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ctor-hello-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	e, err := ctor.Open(ctx, ctor.Config{Root: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	img, err := image.New(ctx, e, helloWorld,
		ocispec.ImageConfig{Cmd: []string{"/hello"}},
		layer.FromFS(fstest.MapFS{"hello": {Data: program, Mode: 0o755}}, nil))
	if err != nil {
		return err
	}
	return img.Push(ctx, "", &image.PushOptions{Registry: to})
}
