package container

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/journal"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/record"
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
	case cfg.Restart != RestartNo && cfg.Detach && cfg.Network.dial != nil:
		return invalid("restart: a way out that outlives the program serves one life: use Keep instead of Detach, or Start the next life in a program")
	}
	return nil
}

// A mender begins next lives of a container by its policy, in this program.
type mender struct {
	mu     sync.Mutex
	pauses restart.Pauses
}

func (m *mender) pause(lived time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pauses.After(lived)
}

func (c *Container) policy() restart.Policy { return restart.Policy(c.about.Restart) }

// afterEnd does what is to be done when a life has ended that this program has seen.
func (c *Container) afterEnd(l life.Life) {
	switch {
	case c.onlyDaemonEnded():
	case c.about.AutoRemove:
		if err := c.Remove(context.Background()); err != nil && !errors.Is(err, engine.ErrClosed) {
			log.G(c.e.Context(context.Background())).WithField("container", c.ID()).WithError(err).Warn("could not remove a container that has ended")
		}
	case c.policy() != restart.No:
		s, _ := l.Status(context.Background()) // which is known
		c.mend(l, s.Exit.At.Sub(l.Started()))
	}
}

// onlyDaemonEnded tells of a wait that ended with the containerd that runs, and not
// with the container: that goes on, and what is to be done after its end is not done.
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
	for c.policy().Wants(c.journal.Read()) {
		select {
		case <-time.After(c.mender.pause(lived)):
		case <-c.closed:
			return
		case <-c.e.Life().Done():
			return
		}
		if c.revive(last) == nil {
			return
		}
		lived = 0
	}
}

// revive begins the next life after a last one now, if it still is the last, and a
// next one wanted. An error means that it could not begin, which counts as a life.
func (c *Container) revive(last life.Life) error {
	ctx, leave, err := c.enter(context.Background())
	if err != nil {
		return nil // its end is the engine's, or its own
	}
	defer leave()
	c.starting.Lock()
	defer c.starting.Unlock()
	unlock, err := c.journal.Lock(ctx)
	if errdefs.IsNotFound(err) || errors.Is(err, journal.ErrBusy) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	if c.ending.Load() {
		return nil
	}
	if c.life() != last || !c.policy().Wants(c.journal.Read()) {
		return nil
	}
	if _, err := c.journal.Change(func(p *journal.Past) { p.Due = true }); err != nil {
		return err
	}
	s, err := last.Status(ctx)
	if err == nil {
		err = c.again(ctx, s)
	}
	if err != nil {
		_, _ = c.journal.Change((*journal.Past).Count)
		log.G(ctx).WithField("container", c.ID()).WithError(err).Warn("could not start it again, as its restart policy says")
	}
	return err
}

// halt keeps policies from starting the container, and waits for a start that is
// under way.
func (c *Container) halt(ctx context.Context) error {
	if c.policy() == restart.No {
		return nil
	}
	unlock, err := c.journal.Lock(ctx)
	if errdefs.IsNotFound(err) {
		return nil // it was removed
	}
	if err != nil {
		return errors.Join(ctx.Err(), err)
	}
	defer unlock()
	_, err = c.journal.Change(func(p *journal.Past) { p.Stopped = true })
	return err
}

// wanted notes that a caller starts the container: what policies have counted is
// over. undo takes that back.
func (c *Container) wanted() (undo func(), err error) {
	if was := c.journal.Read(); !was.Stopped && !was.Due && was.Restarts == 0 {
		return func() {}, nil
	}
	return c.journal.Change(func(p *journal.Past) { p.Stopped, p.Restarts, p.Due = false, 0, false })
}

// pending tells whether a container whose life of that number has ended so has begun
// another meanwhile, or is going to, by its policy.
func (c *Container) pending(number int, e life.Exit) bool {
	past := c.journal.Read()
	if past.Due || past.Lives > number {
		return true
	}
	past.Exit = &e
	return c.policy().Wants(past)
}

func init() { engine.Resume = resume }

// resume begins the next lives of the containers whose policies want that, of which
// programs have left nothing that runs, and sees to the detached ones. What fails is
// tried again, as after any life.
func resume(ctx context.Context, on any) {
	e := on.(*ctor.Engine)
	in := engine.Of(e)
	ctx, leave, err := in.Enter(ctx)
	if err != nil {
		return
	}
	defer leave()
	records, err := in.Client.ContainerService().List(ctx)
	if err != nil {
		log.G(ctx).WithError(err).Warn("could not find out which containers are to be started again")
	}
	var all sync.WaitGroup
	for _, r := range records {
		about, _ := record.Of(r)
		if about.Restart == 0 && !about.Detached || about.Owner != "" {
			continue
		}
		see := func(ctx context.Context) {
			if c, err := found(ctx, e, r); err == nil {
				c.resume(ctx)
			}
		}
		if about.Restart != 0 {
			all.Go(func() { see(ctx) })
			continue
		}
		go func() { // there is nothing to begin, so nothing that Open waits for
			ctx, leave, err := in.Enter(context.WithoutCancel(ctx))
			if err == nil {
				defer leave()
				see(ctx)
			}
		}()
	}
	all.Wait()
}

// resume is what the engine's beginning means to the container.
func (c *Container) resume(ctx context.Context) {
	last := c.life()
	s, err := last.Status(ctx)
	if err != nil || c.hasKeeper() {
		return
	}
	c.watch(last)
	if !ended(s) || c.policy() == restart.No {
		return
	}
	if _, err := c.first().Status(ctx); !c.e.Backend.Gone(err) {
		return // its shim is there, and sees to it
	}
	if c.revive(last) != nil {
		go c.mend(last, 0)
	}
}
