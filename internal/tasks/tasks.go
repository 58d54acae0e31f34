// Package tasks is the engine's task service: containerd's tasks API on one
// side, shims on the other. It decides which shim a container belongs to,
// keeps the bundle that the shim works in, and finds detached shims again.
//
// It takes the place of containerd's runtime v2 manager. The manager executes the
// shim's binary twice for every container, wants sockets in a directory with a
// short path, can't let go of a shim without deleting its container, and can't be
// closed: its event exchange goes on.
package tasks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/identifiers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"golang.org/x/sync/errgroup"

	"github.com/ctorhq/ctor/internal/shim"
	"github.com/ctorhq/ctor/internal/unwind"
)

// Config says what a service works with.
type Config struct {
	Dir        string // bundles and shim logs
	Containers containers.Store
	Content    content.Store // of checkpoints
	Events     shim.Events
	Shim       string // path, from shim.Find
	// Cgroups is where the cgroups of a namespace's containers are. The next
	// service on Dir removes what is left of them, without a list.
	Cgroups func(namespace string) string
}

// Service implements containerd's TasksClient over shims.
type Service struct {
	cfg     Config
	program *shim.Program

	mu       sync.Mutex
	attached *tended                 // nil until the first container
	tasks    map[string]*task        // by key of the container
	living   map[*tended]bool        // shims that were not let go of
	expected map[string]*expectation // by key of the container
	closed   bool

	ending sync.WaitGroup // of shims
	debt   unwind.Debt
}

// task is one container in its shim. A later one may have the same key.
type task struct {
	shim     *tended
	deleting sync.Mutex
}

var _ api.TasksClient = (*Service)(nil)

// Settle waits until the shims of a killed program, an earlier service on dir, have
// undone their containers.
func Settle(ctx context.Context, dir string) error {
	return shim.Settle(ctx, attachedLog(dir))
}

func attachedLog(dir string) string { return filepath.Join(dir, shim.Log) }

// New makes a service and connects it to the detached shims that it finds.
func New(cfg Config) (_ *Service, err error) {
	s := &Service{cfg: cfg, tasks: map[string]*task{}, living: map[*tended]bool{}, expected: map[string]*expectation{}}
	s.program = &shim.Program{Path: cfg.Shim, Filters: filepath.Join(cfg.Dir, "filters")}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := os.MkdirAll(s.bundle(""), 0o700); err != nil {
		return nil, err
	}
	sockets, err := fs.Glob(os.DirFS(s.bundle("")), filepath.Join("*", "*", shim.Sockets))
	if err != nil {
		return nil, err
	}
	for _, path := range sockets {
		c, err := shim.Connect(s.bundle(path))
		if shim.IsDead(err) {
			continue // Sweep removes what it left
		}
		if err != nil {
			return nil, err // its container may run: it must not be swept
		}
		s.found(filepath.Dir(path), c)
	}
	return s, s.dropImages()
}

// Close ends the attached shim, with what is left of its containers, and lets
// go of the detached ones.
func (s *Service) Close() error {
	s.mu.Lock()
	s.closed = true
	var shims errgroup.Group
	for c := range s.living {
		used := c.used
		shims.Go(func() error { return c.release(used) })
	}
	s.attached, s.tasks = nil, nil
	s.mu.Unlock()
	err := shims.Wait()
	s.ending.Wait()
	s.program.Close()
	return errors.Join(err, s.debt.Settle())
}

func key(ctx context.Context, id string) (string, error) {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return "", err
	}
	for _, n := range []string{ns, id} {
		if err := identifiers.Validate(n); err != nil {
			return "", err
		}
	}
	return filepath.Join(ns, id), nil
}

func (s *Service) bundle(key string) string { return filepath.Join(s.cfg.Dir, "bundle", key) }

// find gives a task.
func (s *Service) find(ctx context.Context, id string) (*task, error) {
	k, err := key(ctx, id)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[k]
	if t == nil {
		return nil, errgrpc.ToGRPC(notFound(id))
	}
	return t, nil
}

func notFound(id string) error { return fmt.Errorf("task %s: %w", id, errdefs.ErrNotFound) }

// found notes a detached shim of an earlier service, with its task.
func (s *Service) found(key string, c *shim.Shim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(key, s.tend(c))
}

// put is called with mu held.
func (s *Service) put(key string, c *tended) {
	c.used = true
	s.tasks[key] = &task{shim: c}
}

// drop forgets a task.
func (s *Service) drop(key string, t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tasks[key] == t {
		delete(s.tasks, key)
	}
}

func (s *Service) knows(key string, t *task) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tasks[key] == t
}
