package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing/fstest"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/ctorhq/ctor/hack/internal/foreign"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// references are what the tests pull.
var references = []string{"library/busybox:latest", "library/busybox:stable-musl", "library/alpine:latest"}

// serve is a registry on a port of loopback that it tells, until it is told to end.
func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	handler, err := registrytest.Handler(nil)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &http.Server{Handler: handler}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	go func() { _ = s.Serve(l) }()
	if err := fill(ctx, l.Addr().String()); err != nil {
		return err
	}
	// As the tests look for it.
	fmt.Fprintf(os.Stderr, "listening on %s\n", l.Addr())
	<-ctx.Done()
	return nil
}

// fill pushes all images.
func fill(ctx context.Context, host string) error {
	box, err := foreign.Busybox()
	if err != nil {
		return err
	}
	box["etc/alpine-release"] = &fstest.MapFile{Data: []byte("3\n"), Mode: 0o644}
	for _, ref := range references {
		name, tag, _ := strings.Cut(ref, ":")
		repo, err := remote.NewRepository(host + "/" + name)
		if err != nil {
			return err
		}
		repo.PlainHTTP = true
		if err := foreign.Push(ctx, repo, tag, []ocispec.Platform{platforms.DefaultSpec()}, []foreign.Files{box}); err != nil {
			return fmt.Errorf("push %s: %w", ref, err)
		}
	}
	return nil
}
