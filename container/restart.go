package container

import (
	"context"
	"errors"
	"math"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/log"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/restart"
)

// Restart says after which of its ends a container begins its next life by itself, as
// with Docker. The zero value is RestartNo.
//
// Before the next life is a pause: a tenth of a second, then twice as long each time,
// up to a minute; after a life of at least ten seconds it is a tenth of a second
// again. A life that could not begin counts as one that failed, and Config.Logger of
// the engine tells why.
//
// What [Container.Stop] has stopped is not started by a policy any more, whichever it
// is, now or by a later program, until Start begins its next life. Signal does not
// count as Stop, and neither does Close of a kept container.
//
// An attached container lives as long as its engine, and so does its policy. A kept
// one that was running when its program ended, or that its policy had still to start,
// begins its next life within the next Open or Dial of its root and namespace, by any
// program that imports this package. A detached one is started by its shim, with or
// without a program; when the shim was killed, or the host restarted, by the next
// Open.
type Restart int

// The policies. UnlessStopped is another name for Always, for programs that have it
// from Docker: there the two differ in what a daemon's start does to a container
// that was stopped, which nothing starts here.
const (
	RestartNo     = Restart(restart.No)            // one life, until Start begins another
	Always        = Restart(restart.Always)        // after every end
	UnlessStopped = Restart(restart.UnlessStopped) // likewise
)

// OnFailure is the policy to begin a next life after an end with another exit code
// than 0, or that was not seen, n times at most; Start begins to count anew. 0 means
// without a bound; less is ctor.ErrInvalid, as New says.
func OnFailure(n int) Restart {
	switch {
	case n == 0:
		return Restart(restart.OnFailure)
	case n < 0:
		return Restart(math.MinInt)
	}
	return Restart(n)
}

// String is the policy in Docker's words, such as "on-failure:3".
func (r Restart) String() string { return restart.Policy(r).String() }

// checkRestart finds what is wrong with how a container is to go on after its end.
func (cfg Config) checkRestart() error {
	switch {
	case !restart.Policy(cfg.Restart).Valid():
		return invalid("restart: %d is no policy: take OnFailure, Always or UnlessStopped", cfg.Restart)
	case cfg.Restart != RestartNo && cfg.AutoRemove:
		return invalid("restart and AutoRemove: a container is started again when it has ended, or removed")
	case cfg.AutoRemove && cfg.Keep:
		return invalid("Keep and AutoRemove: a container's files stay after its end, or they are removed")
	case cfg.Restart != RestartNo && cfg.Detach && cfg.Network.plan.Out != nil:
		return invalid("restart: a way out that outlives the program serves one life: use Keep instead of Detach, or Start the next life in a program")
	}
	return nil
}

// afterEnd does what is to be done when a life has ended that this program has seen.
func (c *Container) afterEnd(l life.Life) {
	switch {
	case c.onlyDaemonEnded():
	case c.about.AutoRemove:
		if err := c.Remove(context.Background()); err != nil && !errors.Is(err, engine.ErrClosed) {
			log.G(c.e.Context(context.Background())).WithField("container", c.ID()).WithError(err).Warn("could not remove a container that has ended")
		}
	case c.mender.Policy != restart.No:
		s, _ := l.Status(context.Background()) // which is known
		c.mend(l, s.Exit.At.Sub(l.Started()))
	}
}

// onlyDaemonEnded tells whether a wait ended because its containerd did. The container
// itself goes on then, and nothing is done that comes after a container's end.
func (c *Container) onlyDaemonEnded() bool {
	if c.e.Backend.Sole() {
		return false
	}
	s, err := c.first().Status(c.e.Context(context.Background()))
	if err != nil {
		return !c.e.Backend.Gone(err)
	}
	return s.State != containerd.Stopped
}

// mend begins the next life, when it is time, if that is wanted.
func (c *Container) mend(last life.Life, lived time.Duration) {
	ctx, cancel := c.during()
	defer cancel()
	c.mender.Mend(ctx, lived, func() error { return c.revive(last) })
}

// revive begins the next life after a last one now, if it still is the last, and a
// next one wanted. An error means that it could not begin.
func (c *Container) revive(last life.Life) error {
	ctx, leave, err := c.enter(context.Background())
	if err != nil {
		return nil // its end is the engine's, or its own
	}
	defer leave()
	c.starting.Lock()
	defer c.starting.Unlock()
	may := func() bool { return !c.ending.Load() && c.life() == last }
	err = c.mender.Revive(ctx, may, func() error {
		s, err := last.Status(ctx)
		if err != nil {
			return err
		}
		return c.again(ctx, s)
	})
	if err != nil {
		log.G(ctx).WithField("container", c.ID()).WithError(err).Warn("could not start it again, as its restart policy says")
	}
	return err
}

func init() {
	engine.Resume = func(ctx context.Context, on any) {
		e := on.(*ctor.Engine)
		engine.Of(e).Unattended(ctx, func(ctx context.Context, r containers.Container) {
			if c, err := found(ctx, e, r); err == nil {
				c.resume(ctx)
			}
		})
	}
}

// resume is what the engine's beginning means to the container.
func (c *Container) resume(ctx context.Context) {
	last := c.life()
	s, err := last.Status(ctx)
	if err != nil || c.hasKeeper() {
		return
	}
	c.watch(last)
	if !s.Ended() || c.mender.Policy == restart.No {
		return
	}
	if _, err := c.first().Status(ctx); !c.e.Backend.Gone(err) {
		return // its shim is there, and sees to it
	}
	if c.revive(last) != nil {
		go c.mend(last, 0)
	}
}
