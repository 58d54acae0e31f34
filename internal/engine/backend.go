package engine

import (
	"context"
	"io"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/logfile"
	"github.com/ctorhq/ctor/internal/stdio"
)

// Backend is what the client can't tell of the containerd behind it. All that
// differs between services in this process and a containerd that runs is asked
// here, and nowhere else. Package backend has both.
type Backend interface {
	// Sole tells whether no other program can have anything here. Then what has an
	// owner that the engine does not know is left over, or half made.
	Sole() bool

	// Gone tells whether an error of the runtime means that it has nothing left of
	// a container. nil does not.
	Gone(err error) bool

	// Reaches tells whether layers that a snapshotter has made are in reach.
	Reaches(snapshotter string) bool

	// Drafts tells whether the directories of a snapshotter's layers are in
	// reach, and a layer may be unpacked into its own before those below it are
	// there. See [rootfs.Draft].
	Drafts(snapshotter string) bool

	// Permits tells what the host can't give a container with this
	// configuration, as far as that is known before the runtime tries.
	Permits(s *specs.Spec) error

	// Relimit notes what a detached container's later lives may use, which its shim
	// begins without this program. Its journal is locked meanwhile.
	Relimit(ctx context.Context, id string, r *specs.LinuxResources) error

	// Clear removes what there is of a container in its runtime beyond its
	// task, whose deletion gave err. cgroup is the container's.
	Clear(ctx context.Context, id, cgroup string, err error) error

	// Relays tells whether the runtime copies a process's streams, and keeps
	// both ends of each pipe. A runtime that does so without a terminal wants
	// both streams of output, or none.
	Relays(tty bool) bool

	// Parker makes containers of which some comes later; nil: nothing behind it can.
	Parker() Parker

	// Attach connects a first process to the ends that the program has, and
	// keeps its log.
	Attach(o Output, std Stdio) (Streams, error)

	// Detach has the log of a first process kept without this program.
	Detach(o Output) (Streams, error)

	// Logs reads the log. Without one the error is fs.ErrNotExist.
	Logs(ctx context.Context, o Output, of logfile.Options) (io.ReadCloser, error)

	// Complete waits until the log of a detached container that has ended has
	// the last of its output.
	Complete(ctx context.Context, o Output) error
}

// Parker makes containers of which some comes later.
type Parker interface {
	// Expect tells of an attached container, by its cgroup and root file system, before it
	// is asked for: what it is made of besides is prepared meanwhile. It does not wait. Deleting the
	// container's task takes that back, where it was not made.
	Expect(ctx context.Context, id, cgroup string, root []*types.Mount)

	// Park makes a container whose first process waits for its command.
	// errdefs.ErrNotImplemented is that it can't with this configuration, or on this
	// host.
	Park(ctx context.Context, r *api.CreateTaskRequest) (*api.CreateTaskResponse, error)

	// Give gives a parked container its command, and tells where its streams are:
	// after it the container is as any that was created. name is its host name from
	// then on, "" the one that it has. After an error it can only be deleted.
	Give(ctx context.Context, id, name string, p *specs.Process, io cio.Config) error
}

// Stdio is what the program has of a first process's streams, in all its lives.
// nil is no input, or output to the log only.
type Stdio struct {
	In       *stdio.Input
	Out, Err io.Writer
}

// Output says where the output of a container's first process goes.
type Output struct {
	ID       string // the container's
	Dir      string // with its files
	Limit    int64  // of the log, as for logfile.Create
	TTY      bool
	EndInput func() // tells the runtime that there is no more input
}

// Streams are a first process's, on their way to it and then in use.
type Streams interface {
	life.Streams
	// Config is what the runtime is told of them.
	Config() cio.Config
	// Given says that the runtime has them, and the process a pid.
	Given(pid int) error
}
