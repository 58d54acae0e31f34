package main

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"testing"
	"testing/fstest"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/layer"
	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

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

// hub starts a registry on loopback that plays the part of Docker Hub, with
// hello-world in it, and gives what reaches it.
func hub(t *testing.T) (*registrytest.Server, *registry.Options) {
	t.Helper()
	s := registrytest.NewServer(t, nil)
	// Whatever host a reference names, these options reach this registry and no
	// other, so references can keep the names that people know.
	o := &registry.Options{
		PlainHTTP: true,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", s.Host)
			},
		},
		Credentials: func(context.Context, string) (registry.Credential, error) {
			return registry.Credential{}, nil
		},
	}
	program, err := greetingELF(runtime.GOARCH, greeting)
	require.NoError(t, err)
	// An engine of its own, or the image would be in the store it is pulled into.
	img, err := image.New(t.Context(), fixture.Open(t), helloWorld,
		ocispec.ImageConfig{Cmd: []string{"/hello"}},
		layer.FromFS(fstest.MapFS{"hello": {Data: program, Mode: 0o755}}, nil))
	require.NoError(t, err)
	require.NoError(t, img.Push(t.Context(), "", &image.PushOptions{Registry: o}))
	s.ResetRequests()
	return s, o
}
