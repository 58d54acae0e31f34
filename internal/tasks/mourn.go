package tasks

import (
	"context"
	"sync"

	"github.com/ctorhq/ctor/internal/shim"
)

// kept is a shim that is mourned: when it dies before its containers were
// deleted, what outlives it is killed. The kernel ends the processes of some
// executors with it, and of others not.
type kept struct {
	*shim.Shim
	mourned chan struct{}
}

func (s *Service) keep(c *shim.Shim) *kept {
	k := &kept{c, make(chan struct{})}
	s.ending.Go(func() { s.mourn(k) })
	return k
}

func (s *Service) mourn(c *kept) {
	defer close(c.mourned)
	<-c.Gone()
	c.Ended()
	var left []string
	s.mu.Lock()
	for k, v := range s.shims {
		if v == c {
			left = append(left, k)
		}
	}
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, k := range left {
		// An error is met again, and told, when the container is deleted.
		wg.Go(func() { _ = s.wreck(k) })
	}
	wg.Wait()
}

// settle waits until a shim that is gone was mourned.
func (c *kept) settle(ctx context.Context) {
	select {
	case <-c.mourned:
	case <-ctx.Done():
	}
}
