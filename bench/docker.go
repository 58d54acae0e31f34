package main

import (
	"context"
	"fmt"
)

// docker is the docker command with its daemon.
type docker struct{ server *dockerd }

func (d *docker) name() string { return "docker run --rm --network none" }

func (d *docker) start(ctx context.Context, b *bench) (err error) {
	d.server, err = b.needDockerd(ctx)
	return err
}

func (d *docker) life(ctx context.Context) error {
	return d.server.run(ctx, "run", "--rm", "--network", "none", ref, "true")
}

func (d *docker) sleeper(ctx context.Context, name string) (func() error, error) {
	if err := d.server.run(ctx, "run", "--detach", "--name", name, "--network", "none", ref, "sleep", "1000"); err != nil {
		return nil, err
	}
	return func() error { return d.server.run(context.Background(), "rm", "--force", name) }, nil
}

func (d *docker) box(ctx context.Context) (func() error, error) { return d.sleeper(ctx, "box") }

func (d *docker) exec(ctx context.Context) error {
	return d.server.run(ctx, "exec", "box", "true")
}

func (d *docker) idle(ctx context.Context, n int) (func() error, error) {
	return d.sleeper(ctx, fmt.Sprintf("idle-%d", n))
}

func (d *docker) helpers() []int { return d.server.shims() }
func (d *docker) daemon() int    { return d.server.pid() }
