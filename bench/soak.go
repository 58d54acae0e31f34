package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

const (
	soakParts   = 10  // of each soak, after each of which memory is looked at
	soakTries   = 100 // failures that a soak goes on after
	soakFastest = 500 // lives a second that there is room for from the start
)

// soaks has lives run from several goroutines for a long time, and looks for what grows
// or fails meanwhile.
func (b *bench) soaks(ctx context.Context) error {
	for _, p := range b.peers {
		c, ok := p.(*ctorPeer)
		if !ok || c.detach {
			continue
		}
		for _, goroutines := range []int{8, 32} {
			s, err := b.soakOf(ctx, c, goroutines)
			b.results.Soak = append(b.results.Soak, s)
			if err != nil {
				return fmt.Errorf("%s, %d goroutines: %w", c.name(), goroutines, err)
			}
		}
	}
	return nil
}

// soaking is a soak that is under way.
type soaking struct {
	peer *ctorPeer
	mu   sync.Mutex
	soak soak
}

func (b *bench) soakOf(ctx context.Context, c *ctorPeer, goroutines int) (soak, error) {
	s := &soaking{peer: c, soak: soak{Peer: c.name(), Goroutines: goroutines}}
	// What is noted of lives is not to look like a leak of theirs.
	room := make([]float64, int(b.soak.Seconds()*soakFastest))
	for n := range room {
		room[n] = 1
	}
	s.soak.LifeMs = room[:0]
	if err := s.weigh(); err != nil {
		return s.soak, err
	}
	for part := range soakParts {
		before, start := len(s.soak.LifeMs), time.Now()
		s.run(ctx, goroutines, b.soak/soakParts)
		perSecond := float64(len(s.soak.LifeMs)-before) / time.Since(start).Seconds()
		s.soak.PerSecond = append(s.soak.PerSecond, perSecond)
		if err := s.weigh(); err != nil {
			return s.soak, err
		}
		if ctx.Err() != nil {
			return s.soak, ctx.Err()
		}
		if s.soak.Failures >= soakTries {
			return s.soak, fmt.Errorf("%d failures, the first: %s", s.soak.Failures, s.soak.First)
		}
		b.say("soak of %s, %d goroutines, %d of %d: %.0f lives/s, %d failures", c.name(), goroutines, part+1, soakParts, perSecond, s.soak.Failures)
	}
	return s.soak, nil
}

// run runs lives for a while.
func (s *soaking) run(ctx context.Context, goroutines int, while time.Duration) {
	var wg sync.WaitGroup
	end := time.Now().Add(while)
	for range goroutines {
		wg.Go(func() {
			for ctx.Err() == nil && s.failures() < soakTries {
				begun := time.Now()
				if begun.After(end) {
					return
				}
				s.note(s.peer.life(ctx), time.Since(begun))
			}
		})
	}
	wg.Wait()
}

func (s *soaking) failures() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.soak.Failures
}

func (s *soaking) note(err error, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.soak.LifeMs = append(s.soak.LifeMs, milli(took))
		return
	}
	s.soak.Failures++
	if s.soak.First == "" {
		s.soak.First = err.Error()
	}
}

// weigh notes what program and shim have by now.
func (s *soaking) weigh() error {
	s.peer.phases()
	w := weight{}
	var err error
	if w.ProgramKiB, err = settled(os.Getpid()); err != nil {
		return err
	}
	for _, pid := range append(s.peer.helpers(), os.Getpid()) {
		files, err := os.ReadDir(procFile(pid, "fd"))
		if err != nil {
			return err
		}
		w.Files += len(files)
		if pid == os.Getpid() {
			continue
		}
		kib, err := pss(pid)
		if err != nil {
			return err
		}
		w.ShimKiB += kib
	}
	s.soak.Weights = append(s.soak.Weights, w)
	return nil
}
