package task

import (
	"context"
	"errors"
	"fmt"
	"sync"

	eventtypes "github.com/containerd/containerd/api/events"
	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/identifiers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/link"
)

const killSignal = unix.SIGKILL

// Service serves containerd's task API.
type Service struct {
	executor Executor
	lobby    lobby
	events   *outbox
	shutdown func() // ends the shim; nil: it does not end on request

	ending context.Context // done when Undo begins: creates in flight give up
	end    context.CancelFunc

	mu         sync.Mutex
	single     bool               // the shim ends when a container is deleted
	ended      bool               // Undo has begun: none is created any more
	containers map[key]*container // nil: being created
	creates    sync.WaitGroup     // in flight; added to with mu held
	expected   map[key]string     // containers that Create will ask for, by their cgroups
	parents    map[string]bool    // the engine's cgroups that containers were in
}

type key struct{ namespace, id string }

var _ taskapi.TTRPCTaskService = (*Service)(nil)

// New makes a service. shutdown is called when a client asks the shim to end
// and it has no containers; nil for one that does not end that way.
func New(executor Executor, events Publisher, shutdown func()) *Service {
	s := &Service{executor: executor, events: newOutbox(events), shutdown: shutdown, containers: map[key]*container{}, expected: map[key]string{}, parents: map[string]bool{}}
	s.ending, s.end = context.WithCancel(context.Background())
	return s
}

// Close sends the last events. What happens after it is not told.
func (s *Service) Close() { s.events.close() }

// find gives a container of ctx's namespace.
func (s *Service) find(ctx context.Context, id string) (*container, error) {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.containers[key{ns, id}]
	if c == nil {
		return nil, fmt.Errorf("container %s: %w", id, errdefs.ErrNotFound)
	}
	return c, nil
}

// process gives a container and one of its processes.
func (s *Service) process(ctx context.Context, id, execID string) (*container, *process, error) {
	c, err := s.find(ctx, id)
	if err != nil {
		return nil, nil, errgrpc.ToGRPC(err)
	}
	p, err := c.process(execID)
	return c, p, errgrpc.ToGRPC(err)
}

// reserve takes an id, so that two creates of one can't both go on.
func (s *Service) reserve(k key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return errEnding
	}
	if _, taken := s.containers[k]; taken {
		return fmt.Errorf("container %s: %w", k.id, errdefs.ErrAlreadyExists)
	}
	s.containers[k] = nil
	s.creates.Add(1)
	return nil
}

var errEnding = fmt.Errorf("the shim is ending: %w", errdefs.ErrUnavailable)

// Create makes a container.
func (s *Service) Create(ctx context.Context, r *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	return s.create(ctx, r, false)
}

func (s *Service) create(ctx context.Context, r *taskapi.CreateTaskRequest, parked bool) (*taskapi.CreateTaskResponse, error) {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err == nil {
		err = identifiers.Validate(r.ID) // it becomes part of paths
	}
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	k := key{ns, r.ID}
	if err := s.reserve(k); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	defer s.creates.Done()
	defer s.unexpect(k) // unless it has become the container's
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ending, cancel)()
	o := order{
		key: k, parked: parked, dir: r.Bundle, images: r.Checkpoint, rootfs: mounts(r.Rootfs),
		paths: paths{in: r.Stdin, out: r.Stdout, err: r.Stderr, terminal: r.Terminal},
	}
	switch r.Options.GetTypeUrl() {
	case link.SpecType:
		o.spec = r.Options.GetValue()
	case link.RestartType:
		o.mandate, err = mandateOf(r.Options.GetValue(), o.paths)
	default:
		err = o.heed(r.Options)
	}
	var c *container
	if err == nil {
		c, err = s.newContainer(ctx, o)
	}
	if err != nil {
		if s.ending.Err() != nil {
			err = fmt.Errorf("%w: %w", errEnding, err)
		}
		s.forget(k)
		return nil, errgrpc.ToGRPC(err)
	}
	s.mu.Lock()
	s.containers[k] = c
	s.events.send(ns, &eventtypes.TaskCreate{
		ContainerID: r.ID, Bundle: r.Bundle, Rootfs: r.Rootfs, Pid: uint32(c.init.pid),
		IO: &eventtypes.TaskIO{Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal},
	})
	s.mu.Unlock()
	if o.images == "" {
		go s.watch(c, c.init)
	}
	if o.mandate != nil {
		go s.keep(c, o)
	}
	return &taskapi.CreateTaskResponse{Pid: uint32(c.init.pid)}, nil
}

func (s *Service) forget(k key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.containers, k)
}

func mounts(ms []*types.Mount) []mount.Mount {
	var list []mount.Mount
	for _, m := range ms {
		list = append(list, mount.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options})
	}
	return list
}

// Start lets a created process run.
func (s *Service) Start(ctx context.Context, r *taskapi.StartRequest) (*taskapi.StartResponse, error) {
	c, p, err := s.process(ctx, r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	// Its end is told after its start, however soon it comes.
	p.starting.Lock()
	defer p.starting.Unlock()
	if p == c.init && c.bundle.Images == "" {
		c.starts.RLock() // or a pause would freeze it half-way
		defer c.starts.RUnlock()
	}
	if err := ctx.Err(); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	if !p.advance(tasktypes.Status_CREATED, tasktypes.Status_RUNNING) {
		return nil, errgrpc.ToGRPC(fmt.Errorf("it was started before, or has ended: %w", errdefs.ErrFailedPrecondition))
	}
	if p == c.init {
		err = s.startInit(ctx, c)
	} else {
		err = s.startExec(ctx, c, p)
	}
	if err != nil {
		return nil, errgrpc.ToGRPC(fmt.Errorf("OCI runtime start failed: %w", err))
	}
	return &taskapi.StartResponse{Pid: uint32(p.pid)}, nil
}

func (s *Service) startInit(ctx context.Context, c *container) error {
	var err error
	if c.bundle.Images != "" {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.ending, cancel)()
		err = s.restore(ctx, c)
	} else {
		err = c.begin(ctx)
	}
	if err != nil {
		c.init.advance(tasktypes.Status_RUNNING, tasktypes.Status_CREATED)
		return err
	}
	c.init.streams.begin()
	s.events.send(c.bundle.Namespace, &eventtypes.TaskStart{ContainerID: c.bundle.ID, Pid: uint32(c.init.pid)})
	return nil
}

// begin has the first process execute its command.
func (c *container) begin(ctx context.Context) (err error) {
	name, p := c.bundle.Spec.Process.Args[0], c.init
	defer func() { err = c.atFirstLimit(name, err) }()
	if err := c.call(func() error { return c.handle.Start(ctx) }); err != nil {
		return err
	}
	// It goes on even if the caller has gone.
	err = awaitExec(context.WithoutCancel(ctx), func() progress { return children.progress(p.pid, &p.last) })
	if errors.Is(err, errUnexecuted) {
		<-c.life.Done() // it is reaped
		err = c.refused(name, p.last.ws)
	}
	return err
}

// Delete removes an ended process, and with the first the container.
func (s *Service) Delete(ctx context.Context, r *taskapi.DeleteRequest) (*taskapi.DeleteResponse, error) {
	c, p, err := s.process(ctx, r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if p != c.init {
		answer, err := p.abandon()
		if err != nil {
			return nil, errgrpc.ToGRPC(err)
		}
		p.streams.settle()
		c.drop(p.id)
		return answer, nil
	}
	if err := s.deleteInit(ctx, c); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	s.events.send(c.bundle.Namespace, &eventtypes.TaskDelete{
		ContainerID: r.ID, Pid: uint32(p.pid), ExitStatus: p.status, ExitedAt: protobuf.ToTimestamp(p.at),
	})
	if s.isSingle() {
		s.endIdle()
	}
	return p.deleted(), nil
}

func (s *Service) deleteInit(ctx context.Context, c *container) error {
	switch c.init.current() {
	case tasktypes.Status_RUNNING:
		return fmt.Errorf("the container runs: %w", errdefs.ErrFailedPrecondition)
	case tasktypes.Status_CREATED: // it never began, and can be ended without asking
		_ = c.kill("", killSignal, true)
		if err := c.init.await(ctx); err != nil {
			return err
		}
	}
	// A second call at the same time waits, and finds nothing.
	c.deleting.Lock()
	defer c.deleting.Unlock()
	if c.deleted {
		return fmt.Errorf("container %s: %w", c.bundle.ID, errdefs.ErrNotFound)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.delete(ctx); err != nil {
		return err
	}
	s.forget(key{c.bundle.Namespace, c.bundle.ID})
	return nil
}
