package database_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
)

// parallel is how many tests there are of each kind, all with a server.
const parallel = 20

// server starts an instance of img for a test, waits until it is ready, and
// says how long that took.
func server(t *testing.T, img *image.Image, ready container.Probe, times *times) *container.Container {
	start := time.Now()
	c := containertest.Run(t, img, container.Config{Ready: ready})
	took := time.Since(start)
	t.Logf("ready after %v", took.Round(time.Millisecond))
	times.add(took)
	return c
}

// times is how long the servers of a test took.
type times struct {
	mu  sync.Mutex
	all []time.Duration
}

func (s *times) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, d)
}

// print is called when all tests have ended.
func (s *times) print(t *testing.T) {
	if len(s.all) == 0 {
		return
	}
	slices.Sort(s.all)
	t.Logf("%d at a time: ready after %v (median), %v (slowest)", parallel,
		s.all[len(s.all)/2].Round(time.Millisecond), s.all[len(s.all)-1].Round(time.Millisecond))
}
