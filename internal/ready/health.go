package ready

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// A Subject is a container whose health is looked at.
type Subject interface {
	// Started is when it was started; zero: not yet.
	Started() time.Time
	// Run runs a command in it, and gives nil for exit code 0. The error is a Cut
	// one where the container's end may be the cause.
	Run(ctx context.Context, limit time.Duration, args []string) error
	// Ends tells whether it ends before ctx does.
	Ends(ctx context.Context) bool
	// Awake tells whether it runs, and is not paused.
	Awake(ctx context.Context) bool
	// Exited returns when the life that is looked at has ended, or ctx has.
	Exited(ctx context.Context)
}

// Cut is the error of a look that the end of what is looked at may have cut short.
func Cut(err error) error { return &cutShort{err} }

type cutShort struct{ error }

func (e *cutShort) Unwrap() error { return e.error }

// Healthy looks until the check says that the container is healthy, or unhealthy,
// or ctx ends.
func Healthy(ctx context.Context, h *Healthcheck, c Subject) error {
	p := patient{Healthcheck: h}
	return p.wait(ctx, c)
}

// patient is a container on its way to a verdict.
type patient struct {
	*Healthcheck
	started  time.Time // zero: not yet
	due      time.Time // when Docker would look again
	failures int       // in a row, that count
}

// begin notes when the container was started, once it is.
func (p *patient) begin(c Subject) {
	if at := c.Started(); !at.IsZero() && p.started.IsZero() {
		p.started = at
		p.due = p.started.Add(p.interval(p.started))
	}
}

// interval is Docker's at a time: so that a look comes right after the start
// period, a shorter one is left of it.
func (p *patient) interval(now time.Time) time.Duration {
	left := p.StartPeriod - now.Sub(p.started)
	if left <= 0 {
		return p.Interval
	}
	return max(min(p.StartInterval, left), leastInterval)
}

// wait looks until the container is healthy, or unhealthy, or ctx ends.
func (p *patient) wait(ctx context.Context, c Subject) error {
	var last error
	for pause := 50 * time.Millisecond; ; pause = min(pause*3/2, p.Interval) {
		p.begin(c)
		now := time.Now()
		err := c.Run(ctx, p.Timeout, p.Args)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, exec.ErrNotFound):
			return Never(err)
		case ctx.Err() == nil:
			last = err
		case last != nil:
			return last // one that was cut off has less to say
		default:
			return err
		}
		if p.failed(now); p.failures >= p.Retries {
			var short *cutShort
			if errors.As(err, &short) && endsSoon(ctx, c) {
				return err // no word of the container's health
			}
			return Never(fmt.Errorf("unhealthy, %d failures in a row: %w", p.failures, err))
		}
		rest := pause
		if !p.started.IsZero() {
			rest = min(rest, time.Until(p.due))
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return last
		}
	}
}

// endsSoon tells whether the container ends, or ctx. The processes of a container
// that ends go before it does.
func endsSoon(ctx context.Context, c Subject) bool {
	soon, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return c.Ends(soon) || ctx.Err() != nil
}

// failed notes a failure of a look that began at a time, if it counts.
func (p *patient) failed(began time.Time) {
	if p.started.IsZero() || began.Before(p.due) {
		return
	}
	if began.Sub(p.started) >= p.StartPeriod {
		p.failures++
	}
	now := time.Now()
	p.due = now.Add(p.interval(now))
}
