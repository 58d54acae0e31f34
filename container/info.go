package container

import (
	"context"
	"math"
	"time"

	containerd "github.com/containerd/containerd/v2/client"

	"github.com/ctorhq/ctor/internal/engine"
)

// State is where a container is in its life.
type State string

// The states.
const (
	Created State = "created" // not started yet
	Running State = "running"
	Paused  State = "paused"
	Exited  State = "exited"
)

// Info is what a container tells about itself at a moment.
type Info struct {
	ID        string            // as the Container's method gives it
	State     State             // where it is in its life
	Pid       int               // of its first process, on the host; 0 unless Running or Paused
	ExitCode  int               // once State is Exited; 128+n where signal n ended it; -1: not known
	OOMKilled bool              // the kernel has killed a process of it for want of memory
	Created   time.Time         // when New made it
	Started   time.Time         // zero: not yet
	Finished  time.Time         // zero: not yet, or not known
	ImageRef  string            // the name it was made from; may mean another image now
	Image     string            // the digest of the manifest it was made from
	Labels    map[string]string // as given in Config; the caller's to change
	Detached  bool              // as given in Config
}

// Info asks for the container's state. After Close it is ctor.ErrNotFound.
func (c *Container) Info(ctx context.Context) (Info, error) {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return Info{}, c.wrap("info of", err)
	}
	defer leave()
	i := Info{
		ID: c.ID(), Created: c.record.CreatedAt,
		ImageRef: c.record.Labels[refLabel], Image: c.record.Labels[digestLabel],
		Detached: c.record.Labels[detachedLabel] != "",
		Labels:   c.userLabels(),
		Started:  c.startedAt(),
	}
	s, err := c.status(ctx)
	if err != nil {
		return Info{}, c.wrap("info of", engine.Cause(ctx, err))
	}
	i.OOMKilled = c.oomKilled()
	switch s.Status {
	case containerd.Created:
		i.State = Created
	case containerd.Stopped:
		i.State, i.ExitCode, i.Finished = Exited, int(int32(s.ExitStatus)), s.ExitTime
	case containerd.Paused, containerd.Pausing:
		i.State, i.Pid = Paused, int(c.task.pid)
	default:
		i.State, i.Pid = Running, int(c.task.pid)
	}
	return i, nil
}

// unknown is no exit code. containerd's own word for it is 255, which is one.
const unknown = math.MaxUint32

// status asks for the state of the task. One that is gone has stopped.
func (c *Container) status(ctx context.Context) (containerd.Status, error) {
	stopped := containerd.Status{Status: containerd.Stopped, ExitStatus: unknown}
	if c.task == nil {
		return stopped, nil
	}
	if c.run != nil {
		select {
		case <-c.run.exited: // also where nobody is left to ask
			if c.run.status.Error() == nil {
				stopped.ExitStatus, stopped.ExitTime = c.run.status.ExitCode(), c.run.status.ExitTime()
			}
			return stopped, nil
		default:
		}
	}
	s, err := c.task.status(ctx)
	if c.gone(err) {
		return stopped, nil
	}
	return s, err
}
