package container

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/ctorhq/ctor/internal/engine"
)

// A Probe tells whether a container is ready for what is wanted of it: nil if
// it is, else why it is not. [Container.WaitReady] asks again until it is, so
// one look is enough; a probe that can wait for the moment, as [Log] does, may
// do so. It must return when ctx ends, and may be asked about any number of
// containers at a time.
//
// Any function of the program's is one: what it gives as an error is what is
// reported if it never holds.
type Probe func(ctx context.Context, c *Container) error

// lookLimit bounds one look of the probes here, as Docker bounds a health
// check that says nothing else.
const lookLimit = 30 * time.Second

// All holds when each of ps has held. They are asked side by side, each until
// it holds. All of none holds.
func All(ps ...Probe) Probe {
	return func(ctx context.Context, c *Container) error {
		errs := side(ctx, c, ps, func(err error) bool { return isNever(err) })
		for _, err := range errs {
			if isNever(err) {
				return err
			}
		}
		return engine.Cause(ctx, list(errs))
	}
}

// Any holds when one of ps does. They are asked side by side. Any of none
// never holds.
func Any(ps ...Probe) Probe {
	return func(ctx context.Context, c *Container) error {
		if len(ps) == 0 {
			return &never{invalid("any: there is no probe to ask")}
		}
		errs := side(ctx, c, ps, func(err error) bool { return err == nil })
		open := false
		for _, err := range errs {
			if err == nil {
				return nil
			}
			open = open || !isNever(err)
		}
		if !open {
			return &never{list(errs)}
		}
		return engine.Cause(ctx, list(errs))
	}
}

// Retry asks p until it holds, with a fixed pause between two looks, for a
// probe that costs too much to be asked as often as WaitReady does. A pause of
// 0 or less is WaitReady's own, from 1 to 100 milliseconds.
func Retry(pause time.Duration, p Probe) Probe {
	return func(ctx context.Context, c *Container) error {
		pauses := backoff()
		if pause > 0 {
			pauses = func() time.Duration { return pause }
		}
		return engine.Cause(ctx, until(ctx, c, p, pauses))
	}
}

// side asks probes side by side, each until it holds or never can, until one
// answer is enough. One that panics does so in the caller's goroutine, who may
// recover, when the others have returned.
func side(ctx context.Context, c *Container, ps []Probe, enough func(error) bool) []error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(ps))
	panics := make(chan any, len(ps))
	var wg sync.WaitGroup
	for i, p := range ps {
		wg.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					panics <- fmt.Sprintf("%v\n\n%s", r, debug.Stack())
					cancel()
				}
			}()
			if errs[i] = until(ctx, c, p, backoff()); enough(errs[i]) {
				cancel()
			}
		})
	}
	wg.Wait()
	select {
	case r := <-panics:
		panic(r)
	default:
		return errs
	}
}

// list puts errors side by side. nil ones are left out.
func list(errs []error) (all error) {
	for _, err := range errs {
		switch {
		case err == nil:
		case all == nil:
			all = err
		default:
			all = fmt.Errorf("%w; %w", all, err)
		}
	}
	return all
}

// never is the error of a probe that can't come to hold.
type never struct{ error }

func (n *never) Unwrap() error { return n.error }

func isNever(err error) bool {
	var n *never
	return errors.As(err, &n)
}
