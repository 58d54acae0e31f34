package task

import (
	"context"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"golang.org/x/sys/unix"
)

// Executor makes containers of bundles. There are three: our own, which has them
// forked by a small program (native), libcontainer inside the shim's process, and
// the runc or crun command. The first hands to another what it does not do.
//
// Whatever an executor starts is a child of the shim's process when the call
// returns, and only the service waits for it.
type Executor interface {
	// Create makes a container, with its first process waiting to be started.
	// One of a bundle with Images is restored, and its processes run. When it
	// fails nothing is left. It may be called many times at once.
	Create(ctx context.Context, b Bundle, io Stdio) (Container, Process, error)
}

// Container is one container of an executor.
type Container interface {
	// Start lets the first process run.
	Start(ctx context.Context) error
	// Exec starts a further process. id names it among the container's.
	Exec(ctx context.Context, id string, p *specs.Process, io Stdio) (Process, error)
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
	Update(ctx context.Context, r *specs.LinuxResources) error
	// Checkpoint has CRIU write the container's processes to files, and end
	// them if they are not to run on.
	Checkpoint(ctx context.Context, c Checkpoint) error
	// Delete undoes the container, cgroup included. Its first process has
	// ended.
	Delete(ctx context.Context) error
}

// Parker is an executor that can make a container whose first process learns later what
// it is to execute.
type Parker interface {
	// Park makes a container but for the command: all of the bundle's configuration
	// holds, save for Process. When it fails nothing is left.
	// errdefs.ErrNotImplemented is that it can't, for this bundle or at all.
	Park(ctx context.Context, b Bundle) (Parked, Process, error)
}

// Expecter is an executor that can begin with a container before its bundle is there.
type Expecter interface {
	// Expect begins with a container that will be in a cgroup, have a root file system,
	// and as a rule share no namespace of others. It does not wait for what it begins.
	// Create goes on from there, or, if the container is another one, begins anew.
	Expect(cgroup string, root []mount.Mount) error
	// Forget takes back what Create has not gone on from.
	Forget(cgroup string) error
}

// Parked is a container that Park has made.
type Parked interface {
	Container
	// Give gives the first process its command, once: after it the container is as
	// Create makes it. name is its host name from now on, "" the one that it has.
	// console is the master of its terminal, if p has one. After an error it can only
	// be killed and deleted.
	Give(ctx context.Context, name string, p *specs.Process, io Stdio) (console *os.File, err error)
}

// Bundle is what a container is made of.
type Bundle struct {
	ID        string
	Namespace string        // containerd's
	Dir       string        // holds config.json; the executor may keep files here
	Rootfs    string        // the root file system, or where it is to be mounted
	Mounts    []mount.Mount // of the root file system; none: it is there
	Images    string        // directory of a checkpoint to restore; "": none
	Spec      *specs.Spec
}

// Mount mounts the root file system, for an executor that needs it at its path. The
// service takes the mounts away.
func (b Bundle) Mount() error {
	if len(b.Mounts) == 0 {
		return nil
	}
	if err := os.MkdirAll(b.Rootfs, 0o711); err != nil {
		return err
	}
	if err := mount.All(b.Mounts, b.Rootfs); err != nil {
		return fmt.Errorf("mount root file system: %w", err)
	}
	return nil
}

// Checkpoint says how one is made.
type Checkpoint struct {
	Images string // directory for the files
	Work   string // directory for CRIU's log
	Exit   bool   // the container ends with it

	// What would be an error without: connections and sockets whose other end
	// is not in the container, and file locks.
	TCP, Unix, Locks bool
}

// Stdio is what a process gets as its standard streams. The files belong to
// the caller, who closes them after the call. With Terminal they are nil.
type Stdio struct {
	In, Out, Err *os.File
	Terminal     bool
}

// Process is one that was started.
type Process struct {
	Pid     int
	Console *os.File // the terminal's master, non-blocking, for the caller to close; nil without one

	// Reap waits for the process's end, and frees what the executor has of it.
	// nil: it has nothing, and wait4 will do.
	Reap func() (unix.WaitStatus, error)
}

// About is what an executor is and can do.
type About struct {
	Native   bool               // our own makes containers; the one named here makes what that does not
	Name     string             // libcontainer, runc or crun; "": there is none beside our own
	Version  string             // without v
	Seccomp  bool               // it can filter system calls
	Features *features.Features // all that it can do; nil: it does not tell
}
