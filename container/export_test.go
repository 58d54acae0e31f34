package container

import (
	"context"
	"runtime"

	"github.com/ctorhq/ctor/internal/reach"
)

// Mistaken is the container's door where its runtime gives another pid.
func Mistaken(c *Container, pid int) reach.Door { return c.e.Doors.Door(mistaken{inside{c}, pid}) }

type mistaken struct {
	inside
	pid int
}

func (m mistaken) Pid(context.Context) (int, error) { return m.pid, nil }

// Idle are the pids of the first processes that wait in a pool for their command.
func Idle(p *Pool) (pids []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.idle {
		pids = append(pids, w.pid)
	}
	return pids
}

// Filled waits until a pool does nothing in the background.
func Filled(p *Pool) (idle int, failed error) {
	for {
		p.mu.Lock()
		idle, failed := len(p.idle), p.failed
		busy := p.filling
		p.mu.Unlock()
		if !busy {
			return idle, failed
		}
		runtime.Gosched()
	}
}
