package main

import (
	"context"
	"fmt"
	"time"
)

// warmups are the lives that come before those that count: the first one of
// an engine starts a shim, that of a daemon fills caches.
const warmups = 3

// lives times whole lives, one peer after the other, again and again, so that
// whatever else happens on the machine happens to all.
func (b *bench) lives(ctx context.Context) error {
	times := newSeries(b.peers)
	for _, p := range b.peers {
		if p, ok := p.(phased); ok {
			p.phases() // those of the first life do not count
		}
	}
	if err := b.interleave(ctx, b.peers, times, peer.life); err != nil {
		return err
	}
	b.results.Life = times
	for _, p := range b.peers {
		if p, ok := p.(phased); ok {
			for phase, t := range p.phases() {
				b.results.Phases = append(b.results.Phases, series{p.name() + ": " + phase, millis(t[warmups:])})
			}
		}
	}
	b.results.sortPhases()
	return nil
}

// execs times commands in a running container.
func (b *bench) execs(ctx context.Context) (err error) {
	var peers []peer
	for _, p := range b.peers {
		x, ok := p.(execer)
		if !ok {
			continue
		}
		end, berr := x.box(ctx)
		if berr != nil {
			return fmt.Errorf("%s: %w", p.name(), berr)
		}
		defer func() {
			if eerr := end(); eerr != nil && err == nil {
				err = fmt.Errorf("%s: %w", p.name(), eerr)
			}
		}()
		peers = append(peers, p)
	}
	times := newSeries(peers)
	b.results.Exec = times
	return b.interleave(ctx, peers, times, func(p peer, ctx context.Context) error { return p.(execer).exec(ctx) })
}

func newSeries(peers []peer) []series {
	var all []series
	for _, p := range peers {
		all = append(all, series{Name: p.name()})
	}
	return all
}

// interleave fills times, which are in the order of the peers.
func (b *bench) interleave(ctx context.Context, peers []peer, times []series, f func(peer, context.Context) error) error {
	for round := range warmups + b.rounds {
		for n := range peers {
			n = (n + round) % len(peers) // nobody always follows the same one
			start := time.Now()
			if err := f(peers[n], ctx); err != nil {
				return fmt.Errorf("%s: %w", peers[n].name(), err)
			}
			if round >= warmups {
				times[n].Samples = append(times[n].Samples, milli(time.Since(start)))
			}
		}
	}
	return nil
}
