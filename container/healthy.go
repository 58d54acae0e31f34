package container

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// Healthy holds when the image's HEALTHCHECK says that the container is
// healthy: its command ends with code 0, run as [Exec] does. It means what it
// means to Docker: NONE, CMD and CMD-SHELL, --interval (30s), --timeout (30s),
// --start-period (0s), --start-interval (5s) and --retries (3), with Docker's
// default where a value is missing or can't be.
//
// It looks more often than Docker does, which waits for an interval before its
// first look: at once, then after pauses that grow up to the interval. What
// fails in between does not count.
//
// WaitReady ends at once when the container is unhealthy, which it is after so
// many failures in a row as --retries says, at the times when Docker looks; when
// the image has no check, which is ctor.ErrInvalid; and when the container does
// not have its command, which is exec.ErrNotFound.
//
// The command runs only while a probe waits for it, from New's image as it was
// then. Nobody else pays for it.
func Healthy() Probe {
	return func(ctx context.Context, c *Container) error {
		h, err := c.healthcheck()
		if err != nil {
			return &never{fmt.Errorf("healthy: %w", err)}
		}
		p := patient{healthcheck: h}
		p.begin(c)
		if err := p.wait(ctx, c); err != nil {
			return fmt.Errorf("healthy: %w", err)
		}
		return nil
	}
}

// patient is a container on its way to a verdict.
type patient struct {
	*healthcheck
	started  time.Time // zero: not yet
	due      time.Time // when Docker would look again
	failures int       // in a row, that count
}

// begin notes when the container was started, once it is.
func (p *patient) begin(c *Container) {
	if at := c.life().Started(); !at.IsZero() && p.started.IsZero() {
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
func (p *patient) wait(ctx context.Context, c *Container) error {
	var last error
	for pause := 50 * time.Millisecond; ; pause = min(pause*3/2, p.Interval) {
		p.begin(c)
		now := time.Now()
		err := c.check(ctx, p.Timeout, p.Args)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, exec.ErrNotFound):
			return &never{err}
		case ctx.Err() == nil:
			last = err
		case last != nil:
			return last // one that was cut off has less to say
		default:
			return err
		}
		if p.failed(now); p.failures >= p.Retries {
			var short *cut
			if errors.As(err, &short) && c.endsSoon(ctx) {
				return err // no word of the container's health
			}
			return &never{fmt.Errorf("unhealthy, %d failures in a row: %w", p.failures, err)}
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
func (c *Container) endsSoon(ctx context.Context) bool {
	soon, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return c.awaitEnd(soon) != nil || ctx.Err() != nil
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
