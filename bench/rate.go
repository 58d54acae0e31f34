package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	rateWindow = 2 * time.Second
	rateRounds = 2
)

// rates counts the whole lives a second that several goroutines get through.
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
	for _, goroutines := range []int{1, 8, 32} {
		all := make([]rate, len(peers))
		for range rateRounds {
			for n, p := range peers {
				perSecond, err := rateOf(ctx, p, goroutines)
				if err != nil {
					return fmt.Errorf("%s, %d goroutines: %w", p.name(), goroutines, err)
				}
				all[n].Peer, all[n].Goroutines = p.name(), goroutines
				all[n].PerSecond = append(all[n].PerSecond, perSecond)
			}
		}
		b.results.Rate = append(b.results.Rate, all...)
	}
	return nil
}

// rateOf runs lives for a window. Those under way at its end are waited for,
// and count, with the time they take.
func rateOf(ctx context.Context, p peer, goroutines int) (perSecond float64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wg    sync.WaitGroup
		lives atomic.Int64
	)
	start := time.Now()
	for range goroutines {
		wg.Go(func() {
			for time.Since(start) < rateWindow && ctx.Err() == nil {
				if err := p.life(ctx); err != nil {
					cancel(err)
					return
				}
				lives.Add(1)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return float64(lives.Load()) / time.Since(start).Seconds(), nil
}
