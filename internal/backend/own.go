package backend

import (
	"context"
	"errors"
	"slices"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/host"
	"github.com/ctorhq/ctor/internal/shim/link"
)

// Own is the backend of services that run in this process, over a root that is
// the engine's alone.
type Own struct {
	logs
	Tasks        Tasks
	Snapshotters []string // that have come up
}

// Tasks is a task service that makes containers whose command comes later as well.
type Tasks interface {
	api.TasksClient
	engine.Parker

	// Relimit is told of at engine.Backend.
	Relimit(ctx context.Context, id string, r *specs.LinuxResources) error
}

// Sole implements engine.Backend: the lock on the root says so.
func (*Own) Sole() bool { return true }

// Gone implements engine.Backend. Only the container's own shim can be
// unavailable here, and a shim does not end before its container.
func (*Own) Gone(err error) bool { return errdefs.IsNotFound(err) || errdefs.IsUnavailable(err) }

// Reaches implements engine.Backend. This host may lack what another one, or
// this one once, has made layers with.
func (o *Own) Reaches(snapshotter string) bool { return slices.Contains(o.Snapshotters, snapshotter) }

// Drafts implements engine.Backend.
func (*Own) Drafts(snapshotter string) bool { return snapshotter == "overlayfs" }

// Permits implements engine.Backend. The shim has this program's capabilities.
func (*Own) Permits(s *specs.Spec) error {
	if s.Linux != nil {
		if err := cgroup.Offers(s.Linux.Resources); err != nil {
			return err
		}
		if err := errors.Join(host.CheckEnds(s.Linux), host.CheckMapped(s.Linux)); err != nil {
			return err
		}
	}
	if s.Process == nil {
		return nil
	}
	if err := host.CheckUser(s.Process.User); err != nil {
		return err
	}
	if err := host.CheckRaised(s.Process); err != nil || s.Process.Capabilities == nil {
		return err
	}
	return host.CheckCaps(s.Process.Capabilities.Bounding)
}

// Relimit implements engine.Backend.
func (o *Own) Relimit(ctx context.Context, id string, r *specs.LinuxResources) error {
	return o.Tasks.Relimit(ctx, id, r)
}

// Clear implements engine.Backend.
func (o *Own) Clear(ctx context.Context, id, group string, err error) error {
	if o.Gone(err) || errdefs.IsFailedPrecondition(err) {
		// A shim of its own that never got to make the container goes by this,
		// or that speaks another protocol, and the bundle of one that was killed.
		_, err = o.Tasks.Delete(ctx, &api.DeleteTaskRequest{ContainerID: id})
		if err = errgrpc.ToNative(err); o.Gone(err) {
			err = nil
		}
	}
	if group == "" {
		return err
	}
	return errors.Join(err, cgroup.Remove(group)) // processes outlive a shim that was killed
}

// Relays implements engine.Backend. Our shim copies to and from a terminal, and
// hands on the rest.
func (*Own) Relays(tty bool) bool { return tty }

// Parker implements engine.Backend.
func (o *Own) Parker() engine.Parker { return o.Tasks }

// Attach implements engine.Backend. The shim opens the pipes through this program.
func (o *Own) Attach(out engine.Output, std engine.Stdio) (engine.Streams, error) {
	return attach(out, std, o.Relays(out.TTY))
}

// Detach implements engine.Backend. The shim writes the log.
func (*Own) Detach(out engine.Output) (engine.Streams, error) {
	to := link.LogURI(logPath(out), out.Limit).String()
	return detached{config: cio.Config{Terminal: out.TTY, Stdout: to, Stderr: to}}, nil
}

// Complete implements engine.Backend. The shim tells of the end after the log
// has it.
func (*Own) Complete(ctx context.Context, _ engine.Output) error { return ctx.Err() }
