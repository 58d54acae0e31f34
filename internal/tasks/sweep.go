package tasks

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/bundle"
)

// Sweep removes what is left of containers that no shim runs any more, and the
// tasks that have no record: of a program that was killed while it made them.
func (s *Service) Sweep(ctx context.Context) error {
	keys, err := fs.Glob(os.DirFS(s.bundle("")), "*/*")
	if err != nil {
		return err
	}
	var errs []error
	for _, k := range keys {
		ns, id := filepath.Dir(k), filepath.Base(k)
		errs = append(errs, s.sweep(namespaces.WithNamespace(ctx, ns), k, id))
	}
	return errors.Join(errs...)
}

func (s *Service) sweep(ctx context.Context, key, id string) error {
	s.mu.Lock()
	t := s.tasks[key]
	s.mu.Unlock()
	if t == nil {
		if err := bundle.Sweep(s.bundle(key)); err != nil {
			return err // what is left is found again by the bundle
		}
		return os.RemoveAll(s.bundle(key))
	}
	if _, err := s.cfg.Containers.Get(ctx, id); !errdefs.IsNotFound(err) {
		return err
	}
	// Errors: there is no task yet, or it has ended.
	if _, err := t.shim.Kill(ctx, &taskapi.KillRequest{ID: id, Signal: uint32(unix.SIGKILL), All: true}); err == nil {
		_, _ = t.shim.Wait(ctx, &taskapi.WaitRequest{ID: id})
	}
	_, err := s.Delete(ctx, &api.DeleteTaskRequest{ContainerID: id})
	if err := errgrpc.ToNative(err); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}
