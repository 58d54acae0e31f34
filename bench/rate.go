package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	rateWindow = 2 * time.Second
	rateRounds = 2
)

// rates counts the whole lives a second that several goroutines get through,
// and times each: of a queue that is unfair the median tells nothing.
func (b *bench) rates(ctx context.Context) error {
	var peers []peer
	for _, p := range b.peers {
		switch p := p.(type) {
		case *ctorPeer:
			if !p.detach {
				peers = append(peers, p)
			}
		case *ctr, *runc:
			peers = append(peers, p)
		}
	}
	for _, goroutines := range []int{1, 8, 32, 64} {
		all := make([]rate, len(peers))
		for range rateRounds {
			for n, p := range peers {
				perSecond, times, err := rateOf(ctx, p, goroutines)
				if err != nil {
					return fmt.Errorf("%s, %d goroutines: %w", p.name(), goroutines, err)
				}
				all[n].Peer, all[n].Goroutines = p.name(), goroutines
				all[n].PerSecond = append(all[n].PerSecond, perSecond)
				all[n].LifeMs = append(all[n].LifeMs, times...)
			}
		}
		b.results.Rate = append(b.results.Rate, all...)
	}
	return nil
}

// rateOf runs lives for a window, and gives the time of each. Those under way
// at its end are waited for, and count, with the time they take.
func rateOf(ctx context.Context, p peer, goroutines int) (perSecond float64, times []float64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wg sync.WaitGroup
		mu sync.Mutex
	)
	start := time.Now()
	for range goroutines {
		wg.Go(func() {
			for time.Since(start) < rateWindow && ctx.Err() == nil {
				begun := time.Now()
				if err := p.life(ctx); err != nil {
					cancel(err)
					return
				}
				mu.Lock()
				times = append(times, milli(time.Since(begun)))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return 0, nil, context.Cause(ctx)
	}
	return float64(len(times)) / time.Since(start).Seconds(), times, nil
}
