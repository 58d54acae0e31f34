package container

import (
	"context"
	"time"

	"github.com/ctorhq/ctor/internal/life"
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

// LookAtNext looks at the health of a container in a next life, which it gives the start
// of, while the container still is in the last one: so it is for a moment at each start.
func LookAtNext(c *Container) (started time.Time) {
	l := next{c.life(), time.Now()}
	c.monitor(l)
	return l.started
}

type next struct {
	life.Life
	started time.Time
}

func (n next) Number() int        { return n.Life.Number() + 1 }
func (n next) Started() time.Time { return n.started }
