package ready

import (
	"context"
	"time"
)

// Verdict is what is known of a container's health, in Docker's words.
type Verdict string

// The verdicts.
const (
	Starting Verdict = "starting"
	Well     Verdict = "healthy"
	Unwell   Verdict = "unhealthy"
)

// Health is the health of a container at a moment.
type Health struct {
	Verdict  Verdict
	Failures int    // in a row, that count
	Says     string // of the last look, what was wrong; "": nothing
}

// Watch looks at a container's health on the check's timer, as Docker does, until ctx
// ends, and tells it after each look. A container that is not awake is left alone.
func Watch(ctx context.Context, h *Healthcheck, c Subject, tell func(Health)) {
	p := patient{Healthcheck: h, started: c.Started()}
	now := Health{Verdict: Starting}
	for {
		rest := p.Interval
		if now.Verdict == Starting {
			rest = p.interval(time.Now())
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return
		}
		if !c.Awake(ctx) {
			continue
		}
		began := time.Now()
		err := c.Run(ctx, p.Timeout, p.Args)
		if ctx.Err() != nil {
			return
		}
		now = now.after(err, began.Sub(p.started) < p.StartPeriod, p.Retries)
		tell(now)
	}
}

// after is the health after a look that gave an error, or none.
func (h Health) after(err error, early bool, retries int) Health {
	if err == nil {
		return Health{Verdict: Well}
	}
	h.Says = err.Error()
	if early && h.Verdict == Starting {
		return h
	}
	if h.Failures++; h.Failures >= retries {
		h.Verdict = Unwell
	}
	return h
}
