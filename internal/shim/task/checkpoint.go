package task

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	eventtypes "github.com/containerd/containerd/api/events"
	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types/runc/options"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ctorhq/ctor/internal/shim/criu"
)

// Checkpoint writes a container's processes to files. Processes that Exec has
// added can't be among them: CRIU follows the first and its children. Nor can
// terminals, whose other end is the shim.
func (s *Service) Checkpoint(ctx context.Context, r *taskapi.CheckpointTaskRequest) (*emptypb.Empty, error) {
	c, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	how, err := checkpointOf(r.Path, r.Options)
	if err == nil {
		err = c.checkpoint(ctx, how)
	}
	if err != nil {
		return nil, errgrpc.ToGRPC(fmt.Errorf("checkpoint container %s: %w", r.ID, err))
	}
	s.events.send(c.bundle.Namespace, &eventtypes.TaskCheckpointed{ContainerID: r.ID, Checkpoint: r.Path})
	return empty, nil
}

// checkpointOf reads containerd's options.
func checkpointOf(images string, o *anypb.Any) (Checkpoint, error) {
	c := Checkpoint{Images: images}
	if !filepath.IsAbs(images) {
		return c, fmt.Errorf("path %q is not absolute: %w", images, errdefs.ErrInvalidArgument)
	}
	if o == nil {
		return c, nil
	}
	var with options.CheckpointOptions
	if err := typeurl.UnmarshalTo(o, &with); err != nil {
		return c, fmt.Errorf("options: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	if with.ParentPath != "" || len(with.EmptyNamespaces) > 0 || with.CgroupsMode != "" {
		return c, fmt.Errorf("options: parents, empty namespaces and cgroup modes: %w", errdefs.ErrNotImplemented)
	}
	c.Exit, c.TCP, c.Unix, c.Locks = with.Exit, with.OpenTcp, with.ExternalUnixSockets, with.FileLocks
	return c, nil
}

func (c *container) checkpoint(ctx context.Context, how Checkpoint) error {
	c.starts.Lock()
	defer c.starts.Unlock()
	if err := c.checkpointable(); err != nil {
		return err
	}
	if err := criu.Check(); err != nil {
		return err
	}
	streams, err := criu.Name(c.init.paths.files())
	if err != nil {
		return err
	}
	config := c.bundle.CriuConfig()
	if err := os.WriteFile(config, streams.Config(), 0o600); err != nil {
		return err
	}
	defer os.Remove(config)
	how.Work = c.bundle.CriuWork()
	if err := os.MkdirAll(how.Work, 0o700); err != nil {
		return err
	}
	if err := c.call(func() error { return c.handle.Checkpoint(ctx, how) }); err != nil {
		return criu.Explain(filepath.Join(how.Work, "dump.log"), err)
	}
	if how.Exit {
		c.thaw() // or in version 1's freezer it would not
	}
	if err := criu.Untie(how.Images); err != nil {
		return err
	}
	return streams.Rename(how.Images)
}

// criuConfig is the file in a bundle in which CRIU finds options that runc has
// no words for. CriuAnnotation has to name it when the container is made.
const (
	criuConfig     = "criu.conf"
	CriuAnnotation = "org.criu.config"
)

// CriuConfig is the path to which CriuAnnotation is to be set.
func (b Bundle) CriuConfig() string { return filepath.Join(b.Dir, criuConfig) }

// CriuWork is where CRIU works for the container, and leaves its log.
func (b Bundle) CriuWork() string { return filepath.Join(b.Dir, "criu") }

// files are those of the streams that are files of the host, by path. A pipe
// without a name is none of them.
func (p paths) files() (files [3]string) {
	for i, path := range []string{p.in, p.out, p.err} {
		path = strings.TrimPrefix(strings.TrimPrefix(path, "fifo://"), "file://")
		if filepath.IsAbs(path) && !nameless(path) {
			files[i] = path
		}
	}
	return files
}

// checkpointable is called with starts held.
func (c *container) checkpointable() error {
	if c.init.current() != tasktypes.Status_RUNNING || c.handle == nil {
		return fmt.Errorf("it does not run: %w", errdefs.ErrFailedPrecondition)
	}
	if c.init.paths.terminal {
		return fmt.Errorf("it has a terminal: %w", errdefs.ErrNotImplemented)
	}
	for _, p := range c.all() {
		if p.running() != 0 {
			return fmt.Errorf("process %s was added to it, and still runs: %w", p.id, errdefs.ErrFailedPrecondition)
		}
	}
	return nil
}

// restore makes a container as its checkpoint has it, with Start's lock held.
// Its processes run when it is made.
//
// What a checkpoint holds is the processes' whole state, down to what they may
// do: its author can be root on the host. The client that asks for the restore answers
// for where it is from.
func (s *Service) restore(ctx context.Context, c *container) error {
	c.starts.Lock()
	defer c.starts.Unlock()
	if err := criu.Check(); err != nil {
		return err
	}
	dir := c.bundle.CriuWork()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := c.make(ctx, s.ending, c.createIn(s.executor)); err != nil {
		return criu.Explain(filepath.Join(dir, "restore.log"), err)
	}
	go s.watch(c, c.init)
	return nil
}

// isUnmade is called with starts held, when there is no handle.
func (c *container) isUnmade() error {
	return fmt.Errorf("container %s was not restored yet: %w", c.bundle.ID, errdefs.ErrFailedPrecondition)
}

// callOff ends a container that was to be restored, unless it has been, and
// reports whether it did.
func (c *container) callOff() bool {
	if c.bundle.Images == "" {
		return false
	}
	c.init.starting.Lock()
	defer c.init.starting.Unlock()
	if c.handle != nil {
		return false
	}
	_, err := c.init.abandon()
	return err == nil
}
