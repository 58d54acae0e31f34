package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// idles measures the memory that running containers cost beside their own.
func (b *bench) idles(ctx context.Context) error {
	for _, p := range b.peers {
		i, ok := p.(idler)
		if !ok {
			continue
		}
		m, err := b.idlesOf(ctx, i)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name(), err)
		}
		b.results.Idle = append(b.results.Idle, m)
	}
	return nil
}

func (b *bench) idlesOf(ctx context.Context, p idler) (_ idle, err error) {
	m := idle{Peer: p.name(), Containers: b.options.idle}
	before, err := settled(p.daemon())
	if err != nil {
		return m, err
	}
	start := time.Now()
	end, err := crowd(ctx, p, b.options.idle)
	defer func() { err = errors.Join(err, end()) }()
	if err != nil {
		return m, err
	}
	m.Seconds = time.Since(start).Seconds()
	for _, pid := range p.helpers() {
		kib, err := pss(pid)
		if err != nil {
			return m, err
		}
		m.Helpers++
		m.HelperKiB += kib
	}
	if m.Helpers == 0 {
		return m, errors.New("no helper processes found: the measurement is at fault")
	}
	after, err := settled(p.daemon())
	m.DaemonKiB = after - before
	return m, err
}

// settled is a process's memory; this one's without garbage.
func settled(pid int) (int, error) {
	debug.FreeOSMemory()
	return pss(pid)
}

// crowd starts containers, several at a time. end removes those that started,
// also after an error.
func crowd(ctx context.Context, p idler, n int) (end func() error, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ends := make([]func() error, n)
	each(n, func(k int) {
		if ctx.Err() != nil {
			return
		}
		end, err := p.idle(ctx, k)
		if err != nil {
			cancel(err)
			return
		}
		ends[k] = end
	})
	end = func() error {
		errs := make([]error, n)
		each(n, func(k int) {
			if ends[k] != nil {
				errs[k] = ends[k]()
			}
		})
		return errors.Join(errs...)
	}
	return end, context.Cause(ctx)
}

// each calls f with 0 to n-1, eight at a time.
func each(n int, f func(int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range 8 {
		wg.Go(func() {
			for k := range next {
				f(k)
			}
		})
	}
	for k := range n {
		next <- k
	}
	close(next)
	wg.Wait()
}
