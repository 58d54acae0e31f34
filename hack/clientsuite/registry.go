package main

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/ctorhq/ctor/hack/internal/foreign"
)

// references are what the suite pulls, and what stands for it here: the same
// names and shapes, made of Debian's busybox.
var references = map[string]func(foreign.Files) []foreign.Files{
	"containerd/busybox:1.36":         only,
	"e2e-test-images/busybox:1.29-2":  only,
	"pause:3.6":                       pause,
	"pause:3.10.2":                    pause,
	"containerd/volume-copy-up:2.2":   volumes,
	"containerd/volume-ownership:2.1": volumes,
}

func only(busybox foreign.Files) []foreign.Files { return []foreign.Files{busybox} }

func pause(foreign.Files) []foreign.Files {
	return []foreign.Files{{"pause": {Data: []byte("#!/no/such"), Mode: 0o755}}}
}

func volumes(busybox foreign.Files) []foreign.Files {
	return []foreign.Files{
		busybox,
		{"bin/bash": {Data: []byte("#!/bin/sh\nexec sh \"$@\"\n"), Mode: 0o755}},
		{"usr/bin/passwd": {Data: []byte("#!/bin/sh\n"), Mode: fs.ModeSetuid | 0o755}},
	}
}

// fill pushes all images to a registry.
func fill(ctx context.Context, net *internet) error {
	box, err := foreign.Busybox()
	if err != nil {
		return err
	}
	for ref, layers := range references {
		name, tag, _ := strings.Cut(ref, ":")
		repo, err := remote.NewRepository(hosts[0] + "/" + name)
		if err != nil {
			return err
		}
		repo.Client = net.client()
		img, err := foreign.NewImage(ctx, architectures, layers(box)...)
		if err == nil {
			err = img.Push(ctx, repo, tag)
		}
		if err != nil {
			return fmt.Errorf("push %s: %w", ref, err)
		}
	}
	return nil
}

// architectures are those of each image.
var architectures = []ocispec.Platform{
	{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64", Variant: "v8"},
	{OS: "linux", Architecture: "s390x"}, {OS: "linux", Architecture: "ppc64le"},
}
