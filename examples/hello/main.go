// Hello does what "docker run hello-world" does, without a daemon: it looks
// for an image in its own store, pulls it if it is not there, makes an
// instance, runs it, and removes the instance. It needs root, and runc.
//
//	hello                                        # Docker Hub's hello-world
//	hello docker.io/library/alpine:3.22 uname -a # an image and a command of yours
//
// It asks registries as "docker login" left it. Images are kept between runs, in
// ctor-hello in the user's cache directory unless -root names another: a second
// run pulls nothing.
//
// The exit code is the container's. As with docker, 125 says that something
// before the container failed, 127 that the image has no such command, and
// 130 that ^C ended it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/registry"
)

const helloWorld = "docker.io/library/hello-world:latest"

// Exit codes, as docker's.
const (
	failed      = 125
	noCommand   = 127
	interrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	h := hello{stdout: os.Stdout, stderr: os.Stderr}
	code := h.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// hello is one run of the program.
type hello struct {
	stdout, stderr io.Writer
	registry       *registry.Options // nil asks registries as docker does
}

// run is main, and gives the exit code.
func (h *hello) run(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("hello", flag.ContinueOnError)
	flags.SetOutput(h.stderr)
	flags.Usage = func() {
		fmt.Fprintln(h.stderr, "usage: hello [-root dir] [image [command [argument ...]]]")
		flags.PrintDefaults()
	}
	root := flags.String("root", defaultRoot(), "`dir`ectory that keeps images from run to run")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return failed
	}
	args = flags.Args()
	if len(args) == 0 {
		args = []string{helloWorld}
	}
	err := h.image(ctx, *root, args[0], args[1:])
	var exit *container.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Code
	case ctx.Err() != nil:
		return interrupted
	}
	fmt.Fprintf(h.stderr, "hello: %v\n", err)
	if errors.As(err, new(noCommandError)) {
		return noCommand
	}
	return failed
}

// defaultRoot keeps what hello pulls out of the way of other programs: one
// engine at a time can have a root open.
func defaultRoot() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = "/var/cache" // no home: a service, most likely
	}
	return filepath.Join(dir, "ctor-hello")
}

// image runs a command in an instance of an image; no args are the image's own.
func (h *hello) image(ctx context.Context, root, ref string, args []string) error {
	e, err := ctor.Open(ctx, ctor.Config{Root: root})
	if err != nil {
		return err
	}
	img, err := h.find(ctx, e, ref)
	if err == nil {
		err = h.instance(ctx, img, container.Config{Args: args})
	}
	return errors.Join(err, e.Close())
}

// find gives an image from the store, and from its registry if the store does
// not have it.
func (h *hello) find(ctx context.Context, e *ctor.Engine, ref string) (*image.Image, error) {
	img, err := image.Get(ctx, e, ref)
	if !errors.Is(err, ctor.ErrNotFound) {
		return img, err
	}
	name, err := parseName(ref)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(h.stdout, "Unable to find image '%s' locally\n", name.familiar)
	fmt.Fprintf(h.stdout, "%s: Pulling from %s\n", name.tag, name.path)
	img, err = image.Pull(ctx, e, ref, &image.PullOptions{
		Registry: h.registry,
		Progress: newProgress(h.stdout).show,
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(h.stdout, "Digest: %s\n", img.Index())
	fmt.Fprintf(h.stdout, "Status: Downloaded newer image for %s\n", name.familiar)
	return img, nil
}

// noCommandError is an instance that could not be made of an image that is
// there: it lacks the command, or the user.
type noCommandError struct{ error }

// instance runs an instance from its making to its removal. Its exit code
// comes as a *container.ExitError.
func (h *hello) instance(ctx context.Context, img *image.Image, cfg container.Config) error {
	cfg.Stdout, cfg.Stderr = h.stdout, h.stderr
	c, err := img.Run(ctx, cfg)
	if errors.Is(err, ctor.ErrNotFound) {
		return noCommandError{err}
	}
	if err != nil {
		return err
	}
	return errors.Join(c.Wait(ctx), c.Close())
}
