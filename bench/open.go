package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
)

// openRounds is how often an engine is opened.
const openRounds = 10

// opens times the opening of an engine: of an empty root, and of one with
// containers, which must be detached to outlive the engine that made them.
func (b *bench) opens(ctx context.Context) error {
	for n := range openRounds {
		start := time.Now()
		e, err := ctor.Open(ctx, ctor.Config{Root: filepath.Join(b.dir, fmt.Sprintf("open-%d", n)), Shim: b.program})
		if err != nil {
			return err
		}
		b.results.open("empty root", time.Since(start))
		if err := e.Close(); err != nil {
			return err
		}
	}
	for _, p := range b.peers {
		if p, ok := p.(*ctorPeer); ok && p.detach {
			return b.opensOf(ctx, p) // one is enough: the shim is not asked
		}
	}
	return nil
}

func (b *bench) opensOf(ctx context.Context, p *ctorPeer) (err error) {
	_, err = crowd(ctx, p, b.options.idle)
	// The handles that crowd has are worthless once the engine is closed.
	defer func() { err = errors.Join(err, p.removeAll()) }()
	if err != nil {
		return err
	}
	for range openRounds {
		if err := p.engine.Close(); err != nil {
			return err
		}
		start := time.Now()
		if err := p.open(ctx); err != nil {
			return err
		}
		b.results.open(fmt.Sprintf("%d running containers", b.options.idle), time.Since(start))
	}
	return nil
}

// removeAll removes the containers of the peer's engine.
func (c *ctorPeer) removeAll() error {
	list, err := container.List(context.Background(), c.engine)
	if err != nil {
		return err
	}
	errs := make([]error, len(list))
	each(len(list), func(n int) { errs[n] = list[n].Close() })
	return errors.Join(errs...)
}
