package container

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/ctorhq/ctor/internal/events"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/ready"
	"github.com/ctorhq/ctor/internal/stdio"
)

// Healthcheck says how it is found out, again and again, whether a container is well.
// Its command runs in the container, as the container's user and in its directory, and
// tells by exit code 0 that it is. What is 0 or less means what it means to Docker.
type Healthcheck struct {
	Args          []string      // the command; empty: there is no check
	Interval      time.Duration // between two looks; 0: 30 seconds; a hundredth of one at least
	Timeout       time.Duration // of one, which has failed then; 0: 30 seconds
	StartPeriod   time.Duration // in which failures don't count, until it was healthy once; 0: none
	StartInterval time.Duration // between two looks in it; 0: 5 seconds; as Interval
	Retries       int           // so many failures in a row are unhealthy; 0: 3
}

// HealthStatus is how well a container is.
type HealthStatus string

// The statuses, in Docker's words.
const (
	HealthNone     HealthStatus = ""          // there is no check, or nothing looks
	HealthStarting HealthStatus = "starting"  // it is not known yet
	HealthGood     HealthStatus = "healthy"   // the last look was good, or too few after it were bad
	HealthBad      HealthStatus = "unhealthy" // as many looks in a row as Retries says were bad
)

// monitor looks at the container's health as long as a life lasts, if there is a
// check. Of one that makes no sense Healthy tells what is wrong.
func (c *Container) monitor(l life.Life) {
	h, err := ready.Recorded(c.about.Health)
	if err != nil {
		return
	}
	number := l.Number()
	c.e.Health.Watch(c.e.Life(), c.ID(), number, h, patient{c, l}, func(now ready.Verdict) {
		c.report(events.Health, events.Event{Life: number, Detail: string(now)})
	})
}

// patient is a container whose health is looked at, in one of its lives.
type patient struct {
	c    *Container
	life life.Life
}

var _ ready.Subject = patient{}

// Started implements ready.Subject.
func (p patient) Started() time.Time { return p.life.Started() }

// Ends implements ready.Subject.
func (p patient) Ends(ctx context.Context) bool { return p.c.awaitEnd(ctx) != nil }

// Exited implements ready.Subject.
func (p patient) Exited(ctx context.Context) { _, _ = p.life.Exited(ctx) }

// Awake implements ready.Subject.
func (p patient) Awake(ctx context.Context) bool {
	s, err := p.life.Status(ctx)
	return err == nil && !s.Frozen()
}

// said is what an error has of the beginning and the end of what a command says, in
// bytes.
const said = 1 << 10

// Run implements ready.Subject: it runs a command that tells by its exit code. The error has the code, or that
// it took too long, and what the command said; no *ExitError: that is for the end of
// the container. The time to start it is the host's doing, and does not count.
func (p patient) Run(ctx context.Context, limit time.Duration, args []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	output := &stdio.Margins{N: said}
	cmd := p.c.Command(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.WaitDelay = time.Second // a child of it may run on
	err := cmd.Start()
	if err == nil {
		late := time.AfterFunc(limit, func() { cancel(fmt.Errorf("it took more than %v", limit)) })
		defer late.Stop()
		err = cmd.Wait()
	}
	if err == nil {
		return nil
	}
	var ender error
	if cmd.Process != nil {
		_, ender, _ = cmd.Process.life.Exit()
	}
	var exit *ExitError
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case ender != nil:
		err = ready.Cut(ender)
	case errors.As(err, &exit):
		err = errors.New(life.Exit{Code: exit.Code}.String())
		if exit.Signal == syscall.SIGKILL {
			err = ready.Cut(err)
		}
	default: // it was not started, or its end not seen
		err = ready.Cut(err)
	}
	if text := ready.Brief(string(output.Bytes())); text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return err
}
