package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ctorhq/ctor/container"
)

// warmer is a peer whose instances can be there before they are needed.
type warmer interface {
	peer
	// warm readies some; end removes them.
	warm(ctx context.Context) (end func() error, err error)
	// run times true in one of them, to its end. With made the instance was made for
	// that command; without, it is told of its command only now.
	run(ctx context.Context, made bool) (time.Duration, error)
}

// pooled is how many instances wait.
const pooled = 4

// warms times what is left of a life where the instance is there already, beside
// whole lives of bwrap.
func (b *bench) warms(ctx context.Context) (err error) {
	var take []func(context.Context) (time.Duration, error)
	for _, p := range b.peers {
		if p, ok := p.(*bwrap); ok {
			b.results.Warm = append(b.results.Warm, series{Name: p.name()})
			take = append(take, func(ctx context.Context) (time.Duration, error) {
				start := time.Now()
				err := p.life(ctx)
				return time.Since(start), err
			})
		}
		w, ok := p.(warmer)
		if c, is := p.(*ctorPeer); !ok || is && c.detach {
			continue
		}
		end, werr := w.warm(ctx)
		if werr != nil {
			return fmt.Errorf("%s: %w", p.name(), werr)
		}
		defer func() { err = errors.Join(err, end()) }()
		for what, made := range map[string]bool{"made before: Start, Wait": true, "warm: Claim, Start, Wait": false} {
			b.results.Warm = append(b.results.Warm, series{Name: p.name() + ", " + what})
			take = append(take, func(ctx context.Context) (time.Duration, error) { return w.run(ctx, made) })
		}
	}
	for round := range warmups + b.rounds {
		for n := range take {
			n = (n + round) % len(take)
			d, err := take[n](ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", b.results.Warm[n].Name, err)
			}
			if round >= warmups {
				b.results.Warm[n].Samples = append(b.results.Warm[n].Samples, milli(d))
			}
		}
	}
	return nil
}

func (c *ctorPeer) warm(ctx context.Context) (func() error, error) {
	var err error
	c.pool, err = c.image.Warm(ctx, pooled, container.Config{})
	if err != nil {
		return nil, err
	}
	return c.pool.Close, nil
}

func (c *ctorPeer) run(ctx context.Context, made bool) (took time.Duration, err error) {
	var out, errs bytes.Buffer
	args := []string{"true"}
	start := time.Now()
	var i *container.Container
	if made {
		i, err = c.image.New(ctx, container.Config{Args: args, Stdout: &out, Stderr: &errs})
		start = time.Now()
	} else {
		i, err = c.pool.Claim(ctx, container.Claim{Args: args, Stdout: &out, Stderr: &errs})
	}
	if err != nil {
		return 0, err
	}
	if err = i.Start(ctx); err == nil {
		err = i.Wait(ctx)
	}
	took = time.Since(start)
	return took, errors.Join(err, i.Close())
}
