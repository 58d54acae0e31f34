package container

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/host"
	"github.com/ctorhq/ctor/internal/spec"
)

// running is the place of a command in a container that runs.
type running struct{ c *Container }

func (r running) String() string { return fmt.Sprintf("container %q", r.c.ID()) }

func (r running) engine() *engine.Engine { return r.c.e }

// first reads the first process from the container's record.
func (r running) first() (*specs.Process, error) {
	if p := r.c.process.Load(); p != nil {
		return p, nil
	}
	var s struct{ Process *specs.Process }
	if err := json.Unmarshal(r.c.record.Spec.GetValue(), &s); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	if s.Process == nil {
		return nil, fmt.Errorf("record: it names no process: %w", errdefs.ErrInvalidArgument)
	}
	r.c.process.Store(s.Process)
	return s.Process, nil
}

// start runs a further process. The call on the container that it is lasts as
// long as the process: so the engine's Close waits for its end.
func (r running) start(ctx context.Context, cmd spec.Command, in, out, eout string) (_ *Process, err error) {
	life, leave, err := r.c.enter(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			leave()
		}
	}()
	if r.c.e.Embedded {
		host.ExpectMove()
	}
	own, cancel := r.c.e.Cleanup(life)
	defer cancel()
	p := &Process{c: r.c, id: strings.ToLower(rand.Text()[:16]), path: cmd.Path, relay: relays(r.c.e, cmd.TTY), leave: leave, exited: make(chan struct{})}
	add := &api.ExecProcessRequest{ContainerID: r.c.ID(), ExecID: p.id, Terminal: cmd.TTY, Stdin: in, Stdout: out, Stderr: eout}
	r.c.commands.Store(p, nil)
	if err = r.exec(own, cmd, add, p); err != nil {
		p.end()
		return nil, r.whyNot(own, err)
	}
	go p.watch(life)
	return p, nil
}

func (r running) exec(ctx context.Context, cmd spec.Command, add *api.ExecProcessRequest, p *Process) error {
	first, err := r.first()
	if err != nil {
		return err
	}
	if r.c.startedAt().IsZero() || r.c.task == nil {
		return invalid("it does not run")
	}
	v, err := r.c.visit(ctx)
	if err != nil {
		return err
	}
	defer v.end()
	process, err := cmd.Process(v.root, first)
	if err != nil {
		return err
	}
	if add.Spec, err = typeurl.MarshalAnyToProto(process); err != nil {
		return err
	}
	if _, err := p.tasks().Exec(ctx, add); err != nil {
		return explain(errgrpc.ToNative(err))
	}
	started, err := p.tasks().Start(ctx, &api.StartRequest{ContainerID: add.ContainerID, ExecID: p.id})
	if err != nil {
		p.discard(ctx)
		return explain(errgrpc.ToNative(err))
	}
	p.Pid = int(started.Pid)
	return nil
}

// whyNot says that the container does not run, if that is why a command was
// not started.
func (r running) whyNot(ctx context.Context, err error) error {
	if r.c.ending.Load() {
		return errContainerClosed
	}
	s, serr := r.c.status(ctx)
	if serr != nil || s.Status == containerd.Running {
		return err
	}
	return invalid("it is %s, and a command needs a container that runs", s.Status)
}
