package container

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/ready"
)

// WaitReady waits until p holds for the container. It asks at once, then after
// a pause that grows from 1 to 100 milliseconds. nil holds always.
//
// It ends before that when ctx does, with ctx's error; when the container does,
// with an *ExitError, also for exit code 0; and at once where p can't hold, as
// [Exec] of a command that the container does not have. In all three cases the
// error says as well what p found at its last look, and the last lines of the
// container's log, up to 10, without what could steer a terminal.
//
// If ctx has no deadline, it waits for a container that never becomes ready until
// that ends or is closed.
func (c *Container) WaitReady(ctx context.Context, p Probe) error {
	if p == nil {
		return nil
	}
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return c.wrap("wait for readiness of", err)
	}
	defer leave()
	looking, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if err := c.awaitEnd(looking); err != nil {
			cancel(err)
		}
	}()
	defer func() {
		cancel(nil)
		<-watched
	}()
	err = engine.Cause(looking, ready.Until(looking, p.at(c), ready.Backoff()))
	if err == nil {
		return nil
	}
	return &notReady{name: c.Name(), look: err, log: c.lastLines(ctx)}
}

// awaitEnd waits for the container's end and gives what there is to say of it; nil
// if ctx ends before.
func (c *Container) awaitEnd(ctx context.Context) error {
	l := c.life()
	exit, err := l.Exited(ctx)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, life.ErrGivenUp):
		return errContainerClosed
	default:
		return err
	}
	// A probe may want the last of the output, but must not wait long for a slow
	// writer of the program's.
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, _ = l.Drained(soon)
	// Of each exit code: before readiness even 0 is a failure.
	return newExitError(c, exit)
}

// lastLines is the end of the container's log, as far as it can be had soon. ctx may
// have ended.
func (c *Container) lastLines(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	r, err := c.Logs(ctx, &LogOptions{Current: true, Tail: ready.TailLines, Gap: "[output is missing]"})
	if err != nil {
		return ""
	}
	defer r.Close()
	return ready.Tail(r)
}

// notReady is why WaitReady gave up.
type notReady struct {
	name string
	look error
	log  string
}

func (e *notReady) Error() string {
	s := fmt.Sprintf("container %q is not ready: %v", e.name, e.look)
	if e.log != "" {
		s += "\nthe end of its log:\n" + e.log
	}
	return s
}

func (e *notReady) Unwrap() error { return e.look }

// A Probe tells whether a container is ready for what is wanted of it: nil if
// it is, else why it is not. [Container.WaitReady] asks again until it is, so
// one look is enough; a probe that can wait for the moment, as [Log] does, may
// do so. It must return when ctx ends, and may be asked about any number of
// containers at a time.
//
// Any function of the program's is one: what it gives as an error is what is
// reported if it never holds.
type Probe func(ctx context.Context, c *Container) error

// at is the probe as a look at one container. A probe that is nil holds.
func (p Probe) at(c *Container) ready.Look {
	return func(ctx context.Context) error {
		if p == nil {
			return nil
		}
		return p(ctx, c)
	}
}

func looks(c *Container, ps []Probe) (list []ready.Look) {
	for _, p := range ps {
		list = append(list, p.at(c))
	}
	return list
}

// All holds when each of ps has held. They are asked side by side, each until
// it holds. All of none holds.
func All(ps ...Probe) Probe {
	return func(ctx context.Context, c *Container) error {
		return engine.Cause(ctx, ready.All(ctx, looks(c, ps)))
	}
}

// Any holds when one of ps does. They are asked side by side. Any of none
// never holds.
func Any(ps ...Probe) Probe {
	return func(ctx context.Context, c *Container) error {
		return engine.Cause(ctx, ready.Any(ctx, looks(c, ps)))
	}
}

// Retry asks p until it holds, with a fixed pause between two looks, for a
// probe that costs too much to be asked as often as WaitReady does. A pause of
// 0 or less is WaitReady's own, from 1 to 100 milliseconds.
func Retry(pause time.Duration, p Probe) Probe {
	return func(ctx context.Context, c *Container) error {
		return engine.Cause(ctx, ready.Until(ctx, p.at(c), ready.Every(pause)))
	}
}

// Exec holds when a command ends with code 0 in the container, run as
// [Container.Command] runs it. A look of more than 30 seconds is cut off and
// asked again.
//
// A command that the container does not have is exec.ErrNotFound, and ends
// WaitReady at once, and so does Exec of none, which is ctor.ErrInvalid.
func Exec(args ...string) Probe {
	return func(ctx context.Context, c *Container) error {
		if len(args) == 0 {
			return ready.Never(fmt.Errorf("exec: %w", invalid("there is no command")))
		}
		err := patient{c, c.life()}.Run(ctx, ready.Limit, args)
		if err != nil {
			err = fmt.Errorf("exec %s: %w", ready.Brief(strings.Join(args, " ")), err)
		}
		if errors.Is(err, exec.ErrNotFound) {
			return ready.Never(err)
		}
		return err
	}
}

// File holds when there is a file of any kind at a path in the container, as
// [Container.FS] sees it: links are followed, and nothing leads out of it. A
// relative path counts from the root. Nothing of the container is executed.
//
// A path that is none is ctor.ErrInvalid, and ends WaitReady at once.
func File(name string) Probe {
	return func(ctx context.Context, c *Container) error { return ready.File(ctx, c.FS(), name) }
}

// Log holds when n lines of the container's output, of both streams, match the
// regular expression (package regexp), since its start. n below 1 means 1.
//
// A line is looked at without its end, and before that has come, so that a
// prompt counts. Of a line longer than 16 KiB each 16 KiB are a line. A
// container that ends after it has written the lines was ready.
//
// An expression that can't be compiled is ctor.ErrInvalid, and ends WaitReady
// at once.
func Log(expr string, n int) Probe {
	re, err := regexp.Compile(expr)
	return func(ctx context.Context, c *Container) error {
		if err != nil {
			return ready.Never(fmt.Errorf("log: %w", invalid("%v", err)))
		}
		l := ready.Lines{Expr: re, Want: max(n, 1)}
		err := c.count(ctx, &l, true)
		if _, ended := context.Cause(ctx).(*ExitError); err != nil && ended {
			// The end may have come before what was written right before it.
			ctx, cancel := c.e.Cleanup(ctx)
			defer cancel()
			err = c.count(ctx, &l, false)
		}
		if err != nil {
			return fmt.Errorf("log %q: %d of %d lines: %w", expr, l.Found, l.Want, err)
		}
		return nil
	}
}

func (c *Container) count(ctx context.Context, l *ready.Lines, follow bool) error {
	r, err := c.Logs(ctx, &LogOptions{Follow: follow, Current: true})
	if err != nil {
		return err
	}
	defer r.Close()
	return l.Read(r)
}

// TCP holds when a server in the container takes connections on a port, on any
// address that [Container.Dial] reaches as ":port". The connection is closed at
// once; some servers note that in their log. A port that is none is
// ctor.ErrInvalid, and ends WaitReady at once.
func TCP(port int) Probe {
	return func(ctx context.Context, c *Container) error { return ready.TCP(ctx, c.dialBare, port) }
}

// HTTP holds when a GET of a URL in the container is answered with one of the
// given status codes; none given means 200 to 399, as for Kubernetes. The host
// is the container: "http://:8080/healthz" and "http://localhost:8080/healthz"
// are the same to most servers. Redirects are not followed, no proxy is used,
// and certificates of https are not checked: nothing is between. A look of
// more than 30 seconds is cut off and asked again.
//
// A URL that is none, or neither http nor https, is ctor.ErrInvalid, and ends
// WaitReady at once.
func HTTP(url string, status ...int) Probe {
	return func(ctx context.Context, c *Container) error { return ready.HTTP(ctx, c.dialBare, url, status) }
}

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
// The check is that of Config.Health, else that of the image as New found it. What a
// probe runs comes in addition to what runs on the check's timer (Info.Health).
func Healthy() Probe {
	return func(ctx context.Context, c *Container) error {
		h, err := ready.Recorded(c.about.Health)
		if err != nil {
			return ready.Never(fmt.Errorf("healthy: %w", err))
		}
		if err := ready.Healthy(ctx, h, patient{c, c.life()}); err != nil {
			return fmt.Errorf("healthy: %w", err)
		}
		return nil
	}
}
