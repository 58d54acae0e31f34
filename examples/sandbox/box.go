package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/image"
)

// boxName is what the box's container is called.
const boxName = "box"

// idle is what the box does by itself: nothing, until it is killed, but bury
// the processes that commands have left behind.
var idle = []string{"sh", "-c", "while :; do sleep 3600 & wait $!; done"}

// box is a container that is kept from program to program.
type box struct {
	engine    *ctor.Engine
	container *container.Container
}

// open finds the box in root, or makes it from an image. It does not run until a
// command does.
func open(ctx context.Context, root, ref string, out egress.Dialer, told io.Writer) (*box, error) {
	e, err := ctor.Open(ctx, ctor.Config{Root: root})
	if err != nil {
		return nil, err
	}
	c, err := container.Get(ctx, e, boxName)
	switch {
	case err == nil:
		err = c.SetOut(ctx, out) // the last program's went with it
	case errors.Is(err, ctor.ErrNotFound):
		c, err = create(ctx, e, ref, out, told)
	}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return &box{e, c}, nil
}

func create(ctx context.Context, e *ctor.Engine, ref string, out egress.Dialer, told io.Writer) (*container.Container, error) {
	img, err := image.Get(ctx, e, ref)
	if errors.Is(err, ctor.ErrNotFound) {
		fmt.Fprintf(told, "sandbox: pulling %s\n", ref)
		img, err = image.Pull(ctx, e, ref, nil)
	}
	if err != nil {
		return nil, err
	}
	return img.New(ctx, container.Config{
		Name:        boxName,
		Hostname:    boxName,
		Keep:        true,
		Entrypoint:  idle,
		Env:         []string{"GITHUB_TOKEN=" + placeholder},
		Dir:         "/" + workspace,
		Network:     container.Out(out),
		Limits:      container.Limits{Memory: 2 << 30},
		StopTimeout: -1,
	})
}

// command prepares a command in the workspace, and starts the box if it does not
// run yet.
func (b *box) command(ctx context.Context, args ...string) (*container.Cmd, error) {
	info, err := b.container.Info(ctx)
	if err != nil {
		return nil, err
	}
	if info.State != container.Running {
		if err := b.container.Start(ctx); err != nil {
			return nil, err
		}
	}
	return b.container.Command(ctx, args[0], args[1:]...), nil
}

// close ends what runs in the box, and leaves its files for the next program.
func (b *box) close() error { return b.engine.Close() }

// remove deletes the box. The image stays.
func (b *box) remove(ctx context.Context) error { return b.container.Remove(ctx) }
