package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/ctorhq/ctor/internal/bundle"
)

// Undo kills and deletes every container, all at once, with its bundle, and
// ends the service: no container is made after it.
func (s *Service) Undo(ctx context.Context) error {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.end()
	// What runs does not wait for creates in flight to give up. Those that
	// succeed all the same are undone after.
	err := s.undoAll(ctx)
	s.creates.Wait()
	err = errors.Join(append(s.unexpectAll(), err, s.undoAll(ctx))...)
	s.mu.Lock()
	for parent := range s.parents {
		bundle.DropParent(parent)
	}
	s.mu.Unlock()
	s.events.close()
	return err
}

// note notes an engine's cgroup. It goes with the engine, whose program may have
// been killed: while there is an engine another shim may be making a container in
// it.
func (s *Service) note(parent string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if parent != "" {
		s.parents[parent] = true
	}
}

func (s *Service) undoAll(ctx context.Context) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	s.mu.Lock()
	for k, c := range s.containers {
		if c == nil {
			continue
		}
		wg.Go(func() {
			err := c.undo(ctx)
			if err == nil {
				s.forget(k)
			}
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	s.mu.Unlock()
	wg.Wait()
	return errors.Join(errs...)
}

// undoLimit is how long a container may take to die. After that the shim ends, and
// the next engine sweeps up what the kernel still holds.
const undoLimit = 15 * time.Second

// killUntil kills the container's processes, again and again: it may freeze some
// of them itself, or be frozen from outside.
func (c *container) killUntil(end time.Time) error {
	for pause := 100 * time.Millisecond; time.Now().Before(end); pause = min(2*pause, time.Second) {
		_ = c.kill("", killSignal, true) // an error: it has ended
		select {
		case <-c.init.exited:
			return nil
		case <-time.After(pause):
		}
	}
	return fmt.Errorf("container %s was killed, and does not end", c.bundle.ID)
}

// undo ends a container, whatever it does, and removes its bundle. The bundle
// of one whose root file system could not be unmounted stays: removing it
// would empty what is mounted there.
func (c *container) undo(ctx context.Context) error {
	if err := c.killUntil(time.Now().Add(undoLimit)); err != nil {
		return err
	}
	c.deleting.Lock()
	defer c.deleting.Unlock()
	if !c.deleted {
		if err := c.delete(ctx); err != nil {
			return err
		}
	}
	return os.RemoveAll(c.bundle.Dir)
}
