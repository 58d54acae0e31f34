package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
)

// clientPeer is a Go program that drives a containerd daemon, as ctor would
// be used, without ctor.
type clientPeer struct {
	server *containerd
	client *client.Client
	image  client.Image
	dir    string // of fifos
	n      atomic.Int64
	boxed  client.Container
}

func (c *clientPeer) name() string { return "containerd client" }

func (c *clientPeer) start(ctx context.Context, b *bench) (err error) {
	if c.server, err = b.needContainerd(ctx); err != nil {
		return err
	}
	c.dir = filepath.Join(b.dir, "client-fifo")
	if c.client, err = client.New(c.server.socket); err != nil {
		return err
	}
	b.later(c.client.Close)
	c.image, err = c.client.GetImage(c.with(ctx), ref)
	return err
}

func (c *clientPeer) with(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, c.server.namespace)
}

// make1 makes a container and its task, and gives what deletes both.
func (c *clientPeer) make1(ctx context.Context, io cio.Creator, args ...string) (client.Container, client.Task, func() error, error) {
	id := fmt.Sprintf("client-%d", c.n.Add(1))
	box, err := c.client.NewContainer(ctx, id,
		client.WithNewSnapshot(id, c.image),
		client.WithNewSpec(oci.WithImageConfig(c.image), oci.WithProcessArgs(args...), seccomp.WithDefaultProfile()))
	if err != nil {
		return nil, nil, nil, err
	}
	remove := func() error { return box.Delete(c.with(context.Background()), client.WithSnapshotCleanup) }
	task, err := box.NewTask(ctx, io)
	if err != nil {
		return nil, nil, nil, errors.Join(err, remove())
	}
	return box, task, func() error {
		_, err := task.Delete(c.with(context.Background()), client.WithProcessKill)
		return errors.Join(err, remove())
	}, nil
}

func (c *clientPeer) life(ctx context.Context) error {
	ctx = c.with(ctx)
	var stdout, stderr bytes.Buffer
	_, task, remove, err := c.make1(ctx, cio.NewCreator(cio.WithStreams(nil, &stdout, &stderr), cio.WithFIFODir(c.dir)), "true")
	if err != nil {
		return err
	}
	ended, err := task.Wait(ctx)
	if err == nil {
		err = task.Start(ctx)
	}
	if err == nil {
		err = exitError(<-ended)
		task.IO().Wait()
	}
	return errors.Join(err, remove())
}

func (c *clientPeer) idle(ctx context.Context, _ int) (func() error, error) {
	box, remove, err := c.sleeper(c.with(ctx))
	_ = box
	return remove, err
}

func (c *clientPeer) sleeper(ctx context.Context) (client.Container, func() error, error) {
	box, task, remove, err := c.make1(ctx, cio.NullIO, "sleep", "1000")
	if err != nil {
		return nil, nil, err
	}
	if err := task.Start(ctx); err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	return box, func() error {
		// Killed first, as Delete would otherwise kill and wait by polling.
		_ = task.Kill(c.with(context.Background()), syscall.SIGKILL)
		return remove()
	}, nil
}

func (c *clientPeer) box(ctx context.Context) (remove func() error, err error) {
	c.boxed, remove, err = c.sleeper(c.with(ctx))
	return remove, err
}

func (c *clientPeer) exec(ctx context.Context) error {
	return execTask(c.with(ctx), c.boxed, c.dir)
}

func (c *clientPeer) helpers() []int { return c.server.shims() }
func (c *clientPeer) daemon() int    { return c.server.pid() }

// execTask runs true in a running container through containerd's client, with
// output and exit code.
func execTask(ctx context.Context, c client.Container, fifos string) (err error) {
	spec, err := c.Spec(ctx)
	if err != nil {
		return err
	}
	task, err := c.Task(ctx, nil)
	if err != nil {
		return err
	}
	spec.Process.Args = []string{"true"}
	var stdout, stderr bytes.Buffer
	p, err := task.Exec(ctx, fmt.Sprintf("exec-%d", time.Now().UnixNano()), spec.Process,
		cio.NewCreator(cio.WithStreams(nil, &stdout, &stderr), cio.WithFIFODir(fifos)))
	if err != nil {
		return err
	}
	ended, err := p.Wait(ctx)
	if err != nil {
		return err
	}
	if err := p.Start(ctx); err != nil {
		return err
	}
	status := <-ended
	p.IO().Wait()
	if _, err := p.Delete(ctx); err != nil {
		return err
	}
	return exitError(status)
}

func exitError(s client.ExitStatus) error {
	if s.Error() != nil {
		return s.Error()
	}
	if s.ExitCode() != 0 {
		return fmt.Errorf("exit code %d", s.ExitCode())
	}
	return nil
}
