package build_test

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/build"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/egress"
)

//go:embed testdata/debian
var files embed.FS

// A program that carries a Dockerfile, and runs what it makes.
func ExampleBuild() {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Close()
	img, err := build.Build(ctx, e, files, &build.Options{Dockerfile: "testdata/debian/Dockerfile", Target: "redis"})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := img.Run(ctx, container.Config{Ready: container.TCP(6379)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
}

// A directory of a repository, at a tag.
func ExampleRemote() {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Close()
	img, err := build.Remote(ctx, e, "https://git.example/shop.git#v1.2:server", &build.Options{
		Secrets: map[string][]byte{"GIT_AUTH_TOKEN": []byte(os.Getenv("GIT_TOKEN"))},
	})
	fmt.Println(img, err)
}

// A context that comes as a tar, as the clients of a build service send it.
func ExampleTar() {
	service := func(ctx context.Context, e *ctor.Engine, body io.Reader) error {
		_, err := build.Tar(ctx, e, body, &build.Options{Tags: []string{"upload:latest"}})
		return err
	}
	_ = service
}

// Steps reach Debian's mirror and nothing else, and have a token that does not stay.
func ExampleOptions() {
	network := container.Out(egress.Allow("deb.debian.org"))
	o := &build.Options{
		Target:  "release",
		Args:    map[string]string{"VERSION": "1.2", "SOURCE_DATE_EPOCH": "1767225600"},
		Secrets: map[string][]byte{"token": []byte(os.Getenv("TOKEN"))},
		Network: &network,
		Tags:    []string{"registry.example/shop:1.2"},
	}
	_ = o
}

// An editor can jump to what is wrong.
func ExampleError() {
	show := func(err error) {
		var be *build.Error
		if errors.As(err, &be) {
			fmt.Printf("%s:%d: %v\n%s", be.File, be.Line, be.Err, be.Output)
		}
	}
	_ = show
}

// The output of all steps, each with its number, and how they ended.
func ExampleProgress() {
	o := &build.Options{Progress: func(p build.Progress) {
		switch {
		case p.Remark != "":
			fmt.Printf("%s:%d: %s\n", p.File, p.Line, p.Remark)
		case p.Output != nil:
			fmt.Printf("#%d %s", p.Step, p.Output)
		default:
			fmt.Printf("#%d %s: %s\n", p.Step, p.Name, p.State)
		}
	}}
	_ = o
}

func ExampleState() {
	fmt.Println(build.Waiting, build.Running, build.Done, build.Cached, build.Failed)
	// Output: waiting running done cached failed
}

// A nightly job keeps a gigabyte of what was used this week.
func ExamplePruneOptions() {
	nightly := func(ctx context.Context, e *ctor.Engine) error {
		freed, err := build.Prune(ctx, e, &build.PruneOptions{Keep: 1 << 30, Unused: 7 * 24 * time.Hour})
		fmt.Println(freed, "bytes")
		return err
	}
	_ = nightly
}

// RUN --mount=type=ssh git clone git@git.example:shop.git
func ExampleSSH() {
	o := &build.Options{SSH: map[string]build.SSH{
		"default": {Agent: os.Getenv("SSH_AUTH_SOCK")},
	}}
	_ = o
}

// Machines that build the same share what they have built.
func ExampleCache() {
	shared := build.InRegistry("registry.example/shop:cache")
	o := &build.Options{CacheFrom: []build.Cache{shared}, CacheTo: []build.Cache{shared}}
	fmt.Println(shared)
	_ = o
	// Output: registry registry.example/shop:cache
}

// An image that says what it was made from, and what is in it.
func ExampleProvenance() {
	o := &build.Options{
		Provenance: build.MaxProvenance,
		SBOM:       "docker/buildkit-syft-scanner:stable-1",
		Tags:       []string{"registry.example/shop:1.2"},
	}
	_ = o
}
