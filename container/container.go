package container

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"syscall"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/tasks"
)

// Labels in which a container's record keeps what a later program must know.
const (
	ownLabels        = "io.ctor."
	refLabel         = ownLabels + "image.ref"
	digestLabel      = ownLabels + "image.digest"
	stopSignalLabel  = ownLabels + "stop.signal"
	stopTimeoutLabel = ownLabels + "stop.timeout"
	detachedLabel    = tasks.DetachLabel
)

// Container is an instance of an image. It is safe for use by any number of
// goroutines.
type Container struct {
	ctor   *ctor.Engine
	e      *engine.Engine
	record containers.Container
	task   containerd.Task // nil: there is none; Get tells when
	run    *run            // nil: detached

	closing sync.Once
	closed  chan struct{} // after Close
	err     error         // of Close
}

// Get finds a container by id, which is the name it was given, if any. One
// that does not exist is ctor.ErrNotFound.
func Get(ctx context.Context, e *ctor.Engine, id string) (_ *Container, err error) {
	in := engine.Of(e)
	ctx, leave, err := in.Enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("get container %q: %w", id, err)
	}
	defer leave()
	if c, ok := in.Attached(id).(*Container); ok {
		return c, nil
	}
	record, err := in.Client.ContainerService().Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("get container %q: %w", id, engine.Cause(ctx, notFound(err)))
	}
	c, err := found(ctx, e, record)
	if err != nil {
		return nil, fmt.Errorf("get container %q: %w", id, engine.Cause(ctx, err))
	}
	return c, nil
}

// List gives all containers of the engine's namespace that this package made,
// in the order of their ids.
func List(ctx context.Context, e *ctor.Engine) ([]*Container, error) {
	in := engine.Of(e)
	ctx, leave, err := in.Enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	defer leave()
	records, err := in.Client.ContainerService().List(ctx, fmt.Sprintf("labels.%q", digestLabel))
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", engine.Cause(ctx, err))
	}
	var list []*Container
	for _, r := range records {
		if c, ok := in.Attached(r.ID).(*Container); ok {
			list = append(list, c)
			continue
		}
		c, err := found(ctx, e, r)
		if err != nil {
			return nil, fmt.Errorf("list containers: %s: %w", r.ID, engine.Cause(ctx, err))
		}
		list = append(list, c)
	}
	return list, nil
}

// found makes a Container of a record that this program has no Container for.
func found(ctx context.Context, e *ctor.Engine, record containers.Container) (*Container, error) {
	in := engine.Of(e)
	c := &Container{ctor: e, e: in, record: record, closed: make(chan struct{})}
	loaded, err := in.Client.LoadContainer(ctx, record.ID)
	if err != nil {
		return nil, err
	}
	// No task: the host was restarted, or its creation failed.
	if c.task, err = loaded.Task(ctx, nil); err != nil && !errdefs.IsNotFound(err) {
		return nil, err
	}
	return c, nil
}

// notFound drops the transport's words from an error of that class.
func notFound(err error) error {
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("no such container: %w", errdefs.ErrNotFound)
	}
	return err
}

// ID is the container's name in its engine.
func (c *Container) ID() string { return c.record.ID }

// Engine is the engine the container belongs to.
func (c *Container) Engine() *ctor.Engine { return c.ctor }

// State is where a container is in its life.
type State string

// The states.
const (
	Created State = "created" // not started yet
	Running State = "running"
	Paused  State = "paused"
	Exited  State = "exited"
)

// Info is what a container tells about itself.
type Info struct {
	ID       string
	State    State
	Pid      int // on the host; 0 unless it runs
	ExitCode int // once State is Exited; 128+n where signal n ended it; -1: not known
	Created  time.Time
	Finished time.Time         // zero until State is Exited
	ImageRef string            // the name it was made from; may mean another image now
	Image    string            // the digest of the manifest it was made from
	Labels   map[string]string // as given in Config
	Detached bool
}

// Info asks for the container's state.
func (c *Container) Info(ctx context.Context) (Info, error) {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return Info{}, c.wrap("info of", err)
	}
	defer leave()
	i := Info{
		ID: c.ID(), State: Exited, ExitCode: -1, Created: c.record.CreatedAt,
		ImageRef: c.record.Labels[refLabel], Image: c.record.Labels[digestLabel],
		Detached: c.record.Labels[detachedLabel] != "",
		Labels:   maps.Clone(c.record.Labels),
	}
	maps.DeleteFunc(i.Labels, func(name, _ string) bool { return strings.HasPrefix(name, ownLabels) })
	if c.task == nil {
		return i, nil
	}
	s, err := c.task.Status(ctx)
	if errdefs.IsNotFound(err) {
		return i, nil
	}
	if err != nil {
		return Info{}, c.wrap("info of", engine.Cause(ctx, err))
	}
	switch s.Status {
	case containerd.Created:
		i.State, i.ExitCode = Created, 0
	case containerd.Running:
		i.State, i.ExitCode, i.Pid = Running, 0, int(c.task.Pid())
	case containerd.Paused, containerd.Pausing:
		i.State, i.ExitCode, i.Pid = Paused, 0, int(c.task.Pid())
	case containerd.Stopped:
		i.ExitCode, i.Finished = int(s.ExitStatus), s.ExitTime
	}
	return i, nil
}

// enter begins a call on a container that is not closed.
func (c *Container) enter(ctx context.Context) (context.Context, func(), error) {
	select {
	case <-c.closed:
		return nil, nil, fmt.Errorf("container is closed: %w", errdefs.ErrNotFound)
	default:
		return c.e.Enter(ctx)
	}
}

// wrap names the operation and the container.
func (c *Container) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s container %q: %w", op, c.ID(), err)
}

func (c *Container) stopTimeout() time.Duration {
	d, err := time.ParseDuration(c.record.Labels[stopTimeoutLabel])
	if err != nil {
		return 10 * time.Second
	}
	return d
}

func (c *Container) stopSignal() syscall.Signal {
	s, err := parseSignal(c.record.Labels[stopSignalLabel])
	if err != nil {
		return syscall.SIGTERM
	}
	return s
}
