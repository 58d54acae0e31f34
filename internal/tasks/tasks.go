// Package tasks is the engine's task service: containerd's tasks API on one
// side, shims on the other. It decides which shim a container belongs to,
// keeps the bundle that the shim works in, and finds detached shims again.
//
// It stands where containerd has its runtime v2 manager. That one executes the
// shim's binary twice for every container, wants sockets in a directory with a
// short path, can't let go of a shim without deleting its container, and has
// no end: its event exchange is never closed.
package tasks

import (
	"context"
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

	"github.com/ctorhq/ctor/internal/shim"
)

// DetachLabel marks the record of a container that has a shim of its own.
const DetachLabel = "io.ctor.detached"

// Config says what a service works with.
type Config struct {
	Dir        string // bundles and shim logs
	Containers containers.Store
	Content    content.Store // of checkpoints
	Events     shim.Events
	Shim       string // path, from shim.Find
	// Cgroups is where those of a namespace's containers are. They are removed
	// by whoever opens the service next, with no need to remember them.
	Cgroups func(namespace string) string
}

// Service implements containerd's TasksClient over shims.
type Service struct {
	cfg     Config
	program *shim.Program

	mu       sync.Mutex
	attached *kept            // nil until the first container
	shims    map[string]*kept // by key of the container
	closed   bool

	ending sync.WaitGroup // of shims
}

var _ api.TasksClient = (*Service)(nil)

// Settle waits until the shims of an earlier service on dir, whose program was
// killed, have undone their containers.
func Settle(ctx context.Context, dir string) error {
	return shim.Settle(ctx, attachedLog(dir))
}

func attachedLog(dir string) string { return filepath.Join(dir, shim.Log) }

// New makes a service and connects it to the detached shims that it finds.
func New(cfg Config) (_ *Service, err error) {
	s := &Service{cfg: cfg, shims: map[string]*kept{}}
	s.program = &shim.Program{Path: cfg.Shim, Filters: filepath.Join(cfg.Dir, "filters")}
	defer func() {
		if err != nil {
			_ = s.Close() // has no error
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
		s.put(filepath.Dir(path), s.keep(c))
	}
	return s, s.dropImages()
}

// Close ends the attached shim, with what is left of its containers, and lets
// go of the detached ones.
func (s *Service) Close() error {
	s.mu.Lock()
	s.closed = true
	all := map[*kept]bool{}
	if s.attached != nil {
		all[s.attached] = true
	}
	for _, c := range s.shims {
		all[c] = true
	}
	s.attached, s.shims = nil, nil
	s.mu.Unlock()
	var wg sync.WaitGroup
	for c := range all {
		wg.Go(c.Close)
	}
	wg.Wait()
	s.ending.Wait()
	s.program.Close()
	return nil
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

// find gives the shim of a task.
func (s *Service) find(ctx context.Context, id string) (*kept, error) {
	k, err := key(ctx, id)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.shims[k]
	if c == nil {
		return nil, errgrpc.ToGRPC(fmt.Errorf("task %s: %w", id, errdefs.ErrNotFound))
	}
	return c, nil
}

// shimFor gives the shim that a new container is to live in.
func (s *Service) shimFor(detached bool, bundle string) (*kept, error) {
	if detached {
		c, err := s.program.Detach(bundle)
		if err != nil {
			return nil, err
		}
		return s.keep(c), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("task service is closed: %w", errdefs.ErrUnavailable)
	}
	if c := s.attached; c != nil {
		select {
		case <-c.Gone(): // it was killed: start anew
			s.ending.Go(c.Close)
			s.attached = nil
		default:
			return c, nil
		}
	}
	c, err := s.program.Attach(s.bundle(""), attachedLog(s.cfg.Dir), s.cfg.Events)
	if err != nil {
		return nil, err
	}
	s.attached = s.keep(c)
	return s.attached, nil
}

func (s *Service) put(key string, c *kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shims != nil {
		s.shims[key] = c
	}
}

func (s *Service) drop(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.shims, key)
}
