package backend

import (
	"context"
	"os"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/logfile"
	"github.com/ctorhq/ctor/internal/stdio"
)

// Running is the backend of a containerd that runs on this host, which any
// number of programs may use.
type Running struct{ logs }

// Sole implements engine.Backend.
func (Running) Sole() bool { return false }

// Gone implements engine.Backend. A containerd that is unavailable says nothing
// of its containers.
func (Running) Gone(err error) bool { return errdefs.IsNotFound(err) }

// Reaches implements engine.Backend: that containerd has made them.
func (Running) Reaches(string) bool { return true }

// Drafts implements engine.Backend: layers are the daemon's to unpack.
func (Running) Drafts(string) bool { return false }

// Permits implements engine.Backend: that containerd finds out by itself.
func (Running) Permits(*specs.Spec) error { return nil }

// Relimit implements engine.Backend: that containerd begins no life by itself.
func (Running) Relimit(context.Context, string, *specs.LinuxResources) error { return nil }

// Clear implements engine.Backend.
func (r Running) Clear(_ context.Context, _, _ string, err error) error {
	if r.Gone(err) {
		return nil
	}
	return err
}

// Relays implements engine.Backend. The shims of others do, for all streams.
func (Running) Relays(bool) bool { return true }

// Parker implements engine.Backend: the task API has no verb for it.
func (Running) Parker() engine.Parker { return nil }

// Attach implements engine.Backend. Every shim of this host can open the pipes.
func (r Running) Attach(out engine.Output, std engine.Stdio) (engine.Streams, error) {
	return attach(out, std, r.Relays(out.TTY))
}

// Detach implements engine.Backend. The shim starts this program again, to keep
// the log.
func (Running) Detach(out engine.Output) (engine.Streams, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := stdio.ForgetPid(logPath(out)); err != nil {
		return nil, err
	}
	// The log is there from the start, for a Logs that comes early.
	if err := logfile.Announce(logPath(out)); err != nil {
		return nil, err
	}
	io, err := stdio.Logger(program, logPath(out), out.Limit, out.TTY)(out.ID)
	if err != nil {
		return nil, err
	}
	return detached{
		config: io.Config(),
		given:  func(pid int) error { return stdio.SetPid(logPath(out), pid) },
	}, nil
}

// Complete implements engine.Backend: the logger is a process of its own.
func (Running) Complete(ctx context.Context, out engine.Output) error {
	return logfile.Complete(ctx, logPath(out))
}
