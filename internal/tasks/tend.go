package tasks

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"golang.org/x/sync/errgroup"

	"github.com/ctorhq/ctor/internal/shim"
)

// tended is a shim that is watched to its end: when it dies before its containers
// were deleted, what outlives it is killed. The kernel ends the processes of only some
// executors with the shim.
type tended struct {
	*shim.Shim
	used    bool // a container was made in it; guarded by Service.mu
	mourned chan struct{}
}

// shimFor gives the shim that a new container is to live in.
func (s *Service) shimFor(detached bool, bundle string) (*tended, error) {
	if detached {
		return s.detach(bundle)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	if c := s.attached; c != nil {
		select {
		case <-c.Gone(): // it was killed
		default:
			return c, nil
		}
	}
	c, err := s.program.Attach(s.bundle(""), attachedLog(s.cfg.Dir), s.cfg.Events)
	if err != nil {
		return nil, err
	}
	s.attached = s.tend(c)
	return s.attached, nil
}

func (s *Service) detach(bundle string) (*tended, error) {
	c, err := s.program.Detach(bundle)
	if err != nil {
		return nil, err
	}
	if k := s.tendOpen(c); k != nil {
		return k, nil
	}
	c.Stop(context.Background(), "")
	return nil, errClosed
}

// tendOpen tends a shim unless the service is closed.
func (s *Service) tendOpen(c *shim.Shim) *tended {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	return s.tend(c)
}

// tend is called with mu held.
func (s *Service) tend(c *shim.Shim) *tended {
	k := &tended{Shim: c, mourned: make(chan struct{})}
	s.living[k] = true
	s.ending.Go(func() { s.mourn(k) })
	return k
}

func (s *Service) mourn(c *tended) {
	<-c.Gone()
	c.Ended()
	var sweeps errgroup.Group
	sweeps.SetLimit(4) // each may need hundreds of files
	for _, k := range s.left(c) {
		// An error comes up again, and is told, when the container is deleted.
		sweeps.Go(func() error { _ = s.wreck(k); return nil })
	}
	_ = sweeps.Wait()
	close(c.mourned)
	// An error means that it hung. It has lost its connection before, and what it
	// had is swept.
	_ = c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.living, c)
}

// left names the containers that a shim has left.
func (s *Service) left(c *tended) (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, t := range s.tasks {
		if t.shim == c {
			keys = append(keys, k)
		}
	}
	return keys
}

// explain adds the last words of a shim that is gone to its error.
func (c *tended) explain(err error) error {
	if words := c.LastWords(); words != "" {
		return fmt.Errorf("%w: it said %q", err, words)
	}
	return err
}

// settle waits until mourn is done with a shim that is gone.
func (c *tended) settle(ctx context.Context) {
	select {
	case <-c.mourned:
	case <-ctx.Done():
	}
}

// background does something that Close waits for, or at once, where Close has
// begun and may have waited.
func (s *Service) background(do func()) {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.ending.Go(do)
	}
	s.mu.Unlock()
	if closed {
		do()
	}
}

// release lets go of a shim when the service ends. A detached shim without a
// container has no reason to stay.
func (c *tended) release(used bool) error {
	if c.Detached() && !used {
		c.Stop(context.Background(), "")
		return nil
	}
	return c.Close()
}

var errClosed = fmt.Errorf("task service is closed: %w", errdefs.ErrUnavailable)
