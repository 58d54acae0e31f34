package ctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/plugins"

	"github.com/ctorhq/ctor/internal/engine"
)

// Dial makes an engine over a containerd that already runs, at the path of
// its socket, such as "/run/containerd/containerd.sock". It must run on this
// host: output and input of containers go through fifos under cfg.Root, which
// also keeps the logs. Versions from 1.6 on work.
//
// Unlike Open it takes no lock: any number of programs may share a containerd
// and a root. Attached containers of programs that were killed are removed by
// the next Dial with the same namespace.
func Dial(ctx context.Context, address string, cfg Config) (_ *Engine, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("dial containerd at %s: %w", address, engine.Cause(ctx, err))
		}
	}()
	if _, err := os.Stat(address); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no such socket (%w): start containerd, for one with: systemctl start containerd", ErrUnavailable)
	}
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if cfg.Snapshotter == "" {
		cfg.Snapshotter = "overlayfs"
	}
	timeout := 10 * time.Second
	if d, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(d))
	}
	client, err := containerd.New(address,
		containerd.WithTimeout(timeout),
		containerd.WithDefaultNamespace(cfg.Namespace))
	if err != nil {
		return nil, err
	}
	in := &engine.Engine{
		Client: client, Namespace: cfg.Namespace, Snapshotter: cfg.Snapshotter,
		Root: cfg.Root, Runtime: plugins.RuntimeRuncV2, Logger: cfg.Logger,
	}
	in.Init()
	if err := reach(ctx, in, timeout); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &Engine{in: in, done: make(chan struct{}), close: client.Close}, nil
}

// reach makes the first calls: the server answers, and what killed programs
// left is removed.
func reach(ctx context.Context, in *engine.Engine, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(in.Context(ctx), timeout)
	defer cancel()
	if _, err := in.Client.Version(ctx); err != nil {
		return fmt.Errorf("%w (%w)", err, ErrUnavailable)
	}
	return in.Sweep(ctx, false)
}
