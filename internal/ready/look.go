// Package ready asks whether something is ready, again and again, until it is or
// can't be. What it asks about is its caller's business: a look is a function.
package ready

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// A Look asks once. nil is ready, an error why not.
type Look func(ctx context.Context) error

// Limit bounds one look, as Docker bounds a health check that says nothing else.
const Limit = 30 * time.Second

// Never is the error of a look that can't come to succeed.
func Never(err error) error { return &never{err} }

type never struct{ error }

func (n *never) Unwrap() error { return n.error }

func isNever(err error) bool {
	var n *never
	return errors.As(err, &n)
}

// invalid is a look that makes no sense.
func invalid(format string, args ...any) error {
	return Never(fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...))
}

// Pauses tell how long to wait before the next look.
type Pauses func() time.Duration

// Backoff keeps the delay small beside the time that has passed.
func Backoff() Pauses {
	pause := time.Millisecond
	return func() time.Duration {
		defer func() { pause = min(pause*3/2, 100*time.Millisecond) }()
		return pause
	}
}

// Every waits as long each time; 0 or less is Backoff.
func Every(pause time.Duration) Pauses {
	if pause <= 0 {
		return Backoff()
	}
	return func() time.Duration { return pause }
}

// Until looks until it is ready, never can be, or ctx ends. The error is what the
// last look found that was not cut short.
func Until(ctx context.Context, look Look, pause Pauses) error {
	var last error
	for {
		err := look(ctx)
		if err == nil || isNever(err) {
			return err
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-time.After(pause()):
		case <-ctx.Done():
			return last
		}
	}
}

// All is ready when each look has found so. They are asked side by side.
func All(ctx context.Context, looks []Look) error {
	errs := side(ctx, looks, isNever)
	for _, err := range errs {
		if isNever(err) {
			return err
		}
	}
	return list(errs)
}

// Any is ready when one look finds so. They are asked side by side.
func Any(ctx context.Context, looks []Look) error {
	if len(looks) == 0 {
		return invalid("any: there is no probe to ask")
	}
	errs := side(ctx, looks, func(err error) bool { return err == nil })
	open := false
	for _, err := range errs {
		if err == nil {
			return nil
		}
		open = open || !isNever(err)
	}
	if !open {
		return Never(list(errs))
	}
	return list(errs)
}

// side asks side by side until one answer is enough. A look that panics does so in
// the caller's goroutine, which may recover, when the others have returned.
func side(ctx context.Context, looks []Look, enough func(error) bool) []error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(looks))
	panics := make(chan any, len(looks))
	var wg sync.WaitGroup
	for i, look := range looks {
		wg.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					panics <- fmt.Sprintf("%v\n\n%s", r, debug.Stack())
					cancel()
				}
			}()
			if errs[i] = Until(ctx, look, Backoff()); enough(errs[i]) {
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
