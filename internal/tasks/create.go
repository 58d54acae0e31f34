package tasks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ctorhq/ctor/internal/bundle"
	"github.com/ctorhq/ctor/internal/record"
	"github.com/ctorhq/ctor/internal/shim"
	"github.com/ctorhq/ctor/internal/shim/link"
	"github.com/ctorhq/ctor/internal/unwind"
)

// Create makes a container's bundle and has a shim create it.
func (s *Service) Create(ctx context.Context, r *api.CreateTaskRequest, _ ...grpc.CallOption) (*api.CreateTaskResponse, error) {
	return s.create(ctx, r, (*shim.Shim).Create)
}

// create has a shim make a container, by one of its verbs.
func (s *Service) create(ctx context.Context, r *api.CreateTaskRequest, verb verb) (_ *api.CreateTaskResponse, err error) {
	defer func() {
		if err != nil {
			err = errgrpc.ToGRPC(err)
		}
	}()
	k, err := key(ctx, r.ContainerID)
	if err != nil {
		return nil, err
	}
	container, err := s.cfg.Containers.Get(ctx, r.ContainerID)
	if err != nil {
		return nil, err
	}
	if err := heed(container.Runtime, r); err != nil {
		return nil, err
	}
	_ = s.debt.Settle() // what can't be undone yet is told by Close
	var undo unwind.Stack
	defer s.debt.Undo(&undo, &err)
	dir, spec := s.bundle(k), container.Spec.GetValue()
	about, _ := record.Of(container)
	detached := about.Detached // it has a shim of its own
	if detached || !s.forgettable(k, spec) {
		if err := bundle.Create(dir, spec); err != nil {
			return nil, err
		}
		undo.Push(func() error { return os.RemoveAll(dir) })
	}
	c, err := s.shimFor(detached, dir)
	if err != nil {
		return nil, err
	}
	if detached {
		undo.Push(func() error { c.Stop(context.WithoutCancel(ctx), r.ContainerID); return nil })
	}
	images, err := s.unpackCheckpoint(ctx, k, r.Checkpoint)
	if err != nil {
		return nil, err
	}
	undo.Push(func() error { return os.RemoveAll(s.images(k)) })
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.meet(k)
	pid, err := s.make(ctx, c, k, verb, &taskapi.CreateTaskRequest{
		ID: r.ContainerID, Bundle: dir, Rootfs: r.Rootfs, Options: given(spec, about),
		Terminal: r.Terminal, Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Checkpoint: images,
	})
	if errors.Is(err, errGone) {
		err = s.lost(c, spec, err)
	}
	if err != nil {
		return nil, err
	}
	return &api.CreateTaskResponse{ContainerID: r.ContainerID, Pid: pid}, nil
}

// make has a shim make a container. That can't be stopped half-way: it goes on to
// its end, some milliseconds away, and is undone.
func (s *Service) make(ctx context.Context, c *tended, key string, verb verb, r *taskapi.CreateTaskRequest) (pid uint32, err error) {
	resp, err := verb(c.Shim, context.WithoutCancel(ctx), r)
	if err = reached(r.ID, err); err != nil {
		return 0, err
	}
	if err = ctx.Err(); err == nil {
		err = s.add(key, c)
	}
	if err != nil {
		_, derr := remove(ctx, c, r.ID)
		return 0, errors.Join(err, derr)
	}
	return resp.Pid, nil
}

// add makes a task known. If its shim has died, mourn may have missed the task.
func (s *Service) add(key string, c *tended) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	select {
	case <-c.Gone():
		return errGone
	default:
		s.put(key, c)
		return nil
	}
}

// lost removes what a shim has made of a container before it ended, which it
// can't undo, and says why it did.
func (s *Service) lost(c *tended, spec []byte, err error) error {
	c.Ended()
	if refusal := s.program.Refusal(); refusal != nil {
		err = refusal
	} else {
		err = c.explain(err)
	}
	return errors.Join(err, bundle.SweepSpec(spec))
}

// given is what the attached shim makes a bundle of, for itself alone. A detached
// shim works in the directory where a later engine finds it, and may have to start
// its container again.
func given(spec []byte, about record.Record) *anypb.Any {
	switch {
	case !about.Detached:
		return &anypb.Any{TypeUrl: link.SpecType, Value: spec}
	case about.Restart != 0:
		return &anypb.Any{TypeUrl: link.RestartType, Value: []byte(strconv.Itoa(about.Restart))}
	}
	return nil
}

// forgettable tells whether an attached container can be swept without a bundle. One
// in a cgroup of the caller's choice can't.
func (s *Service) forgettable(key string, spec []byte) bool {
	// In JSON this can be nowhere but where it belongs, so it need not be parsed.
	own := fmt.Appendf(nil, `"cgroupsPath":"%s/`, s.cfg.Cgroups(filepath.Dir(key)))
	return bytes.Contains(spec, own)
}

// wreck removes what is left of a container whose shim is dead.
func (s *Service) wreck(key string) error {
	ctx := namespaces.WithNamespace(context.Background(), filepath.Dir(key))
	c, err := s.cfg.Containers.Get(ctx, filepath.Base(key))
	if err != nil {
		return bundle.Sweep(s.bundle(key))
	}
	return bundle.SweepSpec(c.Spec.GetValue())
}

// remove has the shim delete an ended task. That can't be stopped half-way.
func remove(ctx context.Context, c *tended, id string) (*taskapi.DeleteResponse, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeLimit)
	defer cancel()
	resp, err := c.Delete(ctx, &taskapi.DeleteRequest{ID: id})
	return resp, reached(id, err)
}

// removeLimit is for a shim that was stopped, or that the kernel holds.
const removeLimit = 30 * time.Second

// Delete removes an ended task and its bundle, and ends a shim of its own.
func (s *Service) Delete(ctx context.Context, r *api.DeleteTaskRequest, _ ...grpc.CallOption) (*api.DeleteResponse, error) {
	t, err := s.find(ctx, r.ContainerID)
	if err != nil {
		if k, kerr := key(ctx, r.ContainerID); kerr == nil {
			s.disappoint(ctx, k, r.ContainerID)
		}
		return nil, err
	}
	t.deleting.Lock()
	defer t.deleting.Unlock()
	k, _ := key(ctx, r.ContainerID) // find has checked it
	if !s.knows(k, t) {             // another call was faster: the key may be a new task's
		return nil, errgrpc.ToGRPC(notFound(r.ContainerID))
	}
	if err := t.shim.Evict(); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	resp, err := remove(ctx, t.shim, r.ContainerID)
	switch {
	case errors.Is(err, errGone): // what is left of the container goes here, if it is not gone yet
		t.shim.settle(context.WithoutCancel(ctx))
		if serr := s.wreck(k); serr != nil {
			return nil, errgrpc.ToGRPC(errors.Join(err, serr))
		}
		err = fmt.Errorf("task %s went with its shim: %w", r.ContainerID, errdefs.ErrNotFound)
	case err != nil && !errdefs.IsNotFound(err):
		return nil, errgrpc.ToGRPC(err)
	}
	s.drop(k, t)
	s.dismiss(ctx, t.shim, r.ContainerID, err == nil)
	for _, dir := range []string{s.bundle(k), s.images(k)} {
		if rerr := os.RemoveAll(dir); rerr != nil {
			return nil, errgrpc.ToGRPC(errors.Join(err, rerr))
		}
	}
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &api.DeleteResponse{ID: r.ContainerID, Pid: resp.Pid, ExitStatus: resp.ExitStatus, ExitedAt: resp.ExitedAt}, nil
}

// dismiss ends a detached shim whose container has been deleted. A shim that had the
// container ends by itself, and only Close waits for it. One that had none may still be
// making the container for a program that was killed: that is waited for, since what it
// works with goes next.
func (s *Service) dismiss(ctx context.Context, c *tended, id string, had bool) {
	ctx = context.WithoutCancel(ctx)
	switch {
	case !c.Detached():
	case had:
		s.background(func() { c.Stop(ctx, id) })
	default:
		c.Stop(ctx, id)
	}
	select {
	case <-c.Gone():
		// mourn may have this container on its list, and what is made next may
		// have its name.
		c.settle(ctx)
	default:
	}
}
