package container

import (
	"context"
	"errors"

	"github.com/ctorhq/ctor/internal/events"
	"github.com/ctorhq/ctor/internal/life"
)

// report notes what has happened to the container, at a time; zero is now.
func (c *Container) report(action string, e events.Event) {
	e.Kind, e.Action, e.ID, e.Name, e.Image = events.Container, action, c.ID(), c.Name(), c.about.Image
	c.e.Tell(e)
}

// reported reports what has happened unless there is an error, which it gives.
func (c *Container) reported(action string, err error) error {
	if err == nil {
		c.report(action, events.Event{})
	}
	return err
}

// began notes the beginning of a life, and looks at its health from now on.
func (c *Container) began(l life.Life) {
	c.started(l)
	c.monitor(l)
}

// started notes the beginning of a life.
func (c *Container) started(l life.Life) {
	number := l.Number()
	c.once(2*number-1, func() { c.report(events.Started, events.Event{Life: number, Time: l.Started()}) })
}

// over notes the end of a life. One that has not begun has none.
func (c *Container) over(l life.Life, e life.Exit) {
	if !l.Started().IsZero() {
		c.exited(l.Number(), e)
	}
}

// exited notes the end of the life of a number.
func (c *Container) exited(number int, e life.Exit) {
	c.once(2*number, func() {
		c.report(events.Exited, events.Event{Life: number, Time: e.At, Code: e.Code, OOM: e.OOMKilled})
	})
}

// once tells of a life, of a detached container once among all programs.
func (c *Container) once(n int, tell func()) {
	if c.detached() {
		c.journal.Tell(n, tell)
	} else {
		tell()
	}
}

// attend sees to it that the lives of a detached container are told of, from the one
// that is now to the last which its policy begins. Start begins another attend for
// those after.
func (c *Container) attend() {
	ctx, cancel := c.during()
	defer cancel()
	for {
		l := c.life()
		number := l.Number()
		if number > 0 {
			c.began(l)
		}
		exit, err := l.Exited(context.Background())
		if err != nil && !errors.Is(err, life.ErrUnseen) {
			return
		}
		number = max(number, 1)
		switch last := l.Number(); {
		case last < number: // it was removed, or never started
			return
		case last == number:
			c.started(l)
			c.over(l, exit)
		default: // the next has begun already
			c.exited(number, exit)
		}
		if c.about.AutoRemove {
			c.afterEnd(l)
			return
		}
		if !c.mender.Follow(ctx, number, exit) {
			return
		}
	}
}
