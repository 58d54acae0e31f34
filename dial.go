package ctor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/log"

	"github.com/ctorhq/ctor/internal/backend"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/events"
)

// answerLimit is how long a containerd may take to answer the first call.
const answerLimit = 10 * time.Second

// Dial makes an engine over a containerd that already runs, at the path of
// its socket, such as "/run/containerd/containerd.sock". It must run on this
// host, and in the program's pid namespace: output and input of containers go
// through fifos under cfg.Root, which also keeps the logs, and those of commands
// through the program's own descriptors in /proc. Versions from 1.6 on work. ctx
// bounds the dialing only; a containerd that does not answer within ten seconds
// is ErrUnavailable.
//
// Unlike Open it takes no lock: any number of programs may share a containerd
// and a root. Attached containers of programs that were killed are removed by
// the next Dial with the same namespace, by a program of the same host that
// sees the processes of the first; what can't be removed is left to the next,
// and told to cfg.Logger. The cgroup above those of the containers, one for each
// root and namespace, stays when it is empty: another program may be about to
// use it.
func Dial(ctx context.Context, address string, cfg Config) (_ *Engine, err error) {
	address = strings.TrimPrefix(address, "unix://")
	defer func() {
		if err != nil {
			err = fmt.Errorf("dial containerd at %s: %w", address, engine.Cause(ctx, err))
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if address, err = filepath.Abs(address); err != nil {
		return nil, err
	}
	if err := knock(ctx, address); err != nil {
		return nil, err
	}
	if cfg.Snapshotter == "" {
		cfg.Snapshotter = "overlayfs"
	}
	client, err := containerd.New(address,
		containerd.WithTimeout(answerLimit),
		containerd.WithDefaultNamespace(cfg.Namespace))
	if err != nil {
		return nil, err
	}
	// An engine that Open made may live in the same root, or one of another
	// containerd: each has a directory of its own.
	sum := sha256.Sum256([]byte(address))
	id := hex.EncodeToString(sum[:6])
	in := &engine.Engine{
		Client: client, Namespace: cfg.Namespace,
		Snapshotter: cfg.Snapshotter, Snapshotters: []string{cfg.Snapshotter},
		Root: cfg.Root, Files: filepath.Join(cfg.Root, "dialed", id), Volumes: filepath.Join(cfg.Root, "dialed-volumes", id),
		Runtime: plugins.RuntimeRuncV2, Logger: cfg.Logger,
		Backend: backend.Running{}, Events: events.Open(""),
	}
	in.Init()
	if err := reach(ctx, in); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	about := func(ctx context.Context, i *Info) error { return i.dialed(ctx, in) }
	e := &Engine{in: in, about: about, done: make(chan struct{}), close: func(bool) error { return client.Close() }}
	engine.Resume(ctx, e)
	return e, nil
}

// knock finds out whether anybody listens. The client would go on trying.
func knock(ctx context.Context, address string) error {
	c, err := new(net.Dialer).DialContext(ctx, "unix", address)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // which does not repeat the address
		}
		return fmt.Errorf("%w (%w): is it running? start it, for one with: systemctl start containerd", err, ErrUnavailable)
	}
	return c.Close()
}

// reach makes the first calls: the server answers, and what killed programs
// left is removed.
func reach(ctx context.Context, in *engine.Engine) error {
	ctx = in.Context(ctx)
	first, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	if _, err := in.Client.Version(first); err != nil {
		return fmt.Errorf("no answer, or not containerd's: %w (%w)", err, ErrUnavailable)
	}
	if err := makeRoot(in.Root); err != nil {
		return err
	}
	if err := in.Sweep(ctx); err != nil {
		if ctx.Err() != nil {
			return err
		}
		// It is somebody else's containers that resist: no reason to refuse
		// this program its own.
		log.G(ctx).WithError(err).Warn("could not remove all that killed programs have left")
	}
	return nil
}
