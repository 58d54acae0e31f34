package container

import (
	"context"
	"time"

	"github.com/ctorhq/ctor/internal/events"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/ready"
)

// Healthcheck says how it is found out, again and again, whether a container is well.
// Its command runs in the container, as the container's user and in its directory, and
// tells by exit code 0 that it is. What is 0 or less means what it means to Docker.
type Healthcheck struct {
	Args          []string      // the command; empty: there is no check
	Interval      time.Duration // between two looks; 0: 30 seconds
	Timeout       time.Duration // of one, which has failed then; 0: 30 seconds
	StartPeriod   time.Duration // in which failures don't count, until it was healthy once; 0: none
	StartInterval time.Duration // between two looks in it; 0: 5 seconds
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
// check.
func (c *Container) monitor(l life.Life) {
	if c.about.Health == nil || c.checked.Swap(int64(l.Number())) == int64(l.Number()) {
		return
	}
	h, err := ready.Recorded(c.about.Health)
	if err != nil {
		return // of an image: Healthy tells what is wrong
	}
	c.health.Store(&ready.Health{Verdict: ready.Starting})
	ctx, cancel := context.WithCancel(c.e.Life())
	go func() {
		defer cancel()
		_, _ = l.Exited(ctx)
	}()
	go func() {
		awake := func(ctx context.Context) bool {
			s, err := l.Status(ctx)
			return err == nil && !frozen(s)
		}
		ready.Watch(ctx, h, patient{c}, awake, func(now ready.Health) {
			if was := c.health.Swap(&now); was.Verdict != now.Verdict {
				c.report(events.Health, events.Event{Life: l.Number(), Detail: string(now.Verdict)})
			}
		})
	}()
}

// healthNow is the health of a container that runs, as far as this program looks.
func (c *Container) healthNow() (status HealthStatus, says string) {
	h := c.health.Load()
	if h == nil {
		return HealthNone, ""
	}
	return HealthStatus(h.Verdict), h.Says
}
