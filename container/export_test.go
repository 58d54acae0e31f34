package container

import (
	"context"

	"github.com/ctorhq/ctor/internal/reach"
)

// Mistaken is the container's door where its runtime gives another pid.
func Mistaken(c *Container, pid int) reach.Door { return c.e.Doors.Door(mistaken{inside{c}, pid}) }

type mistaken struct {
	inside
	pid int
}

func (m mistaken) Pid(context.Context) (int, error) { return m.pid, nil }

// Idle are the pids of the first processes that wait in a pool for their command, when
// it is filled.
func Idle(p *Pool) (pids []int) {
	ready, _ := p.pool.Wait(context.Background())
	for _, w := range ready {
		pids = append(pids, w.pid)
	}
	return pids
}

// Filled waits until a pool does nothing in the background.
func Filled(p *Pool) (idle int, failed error) {
	ready, failed := p.pool.Wait(context.Background())
	return len(ready), failed
}
