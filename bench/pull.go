package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"time"
)

// puller is one way to get an image.
type puller interface {
	name() string
	// start readies a store. It gives a *missing where the host lacks the peer.
	start(ctx context.Context, b *bench) error
	// pull gets an image that the store does not have.
	pull(ctx context.Context, ref string) error
	// forget removes it, and all that came with it.
	forget(ctx context.Context, ref string) error
}

// allPullers are in the order of the tables.
func allPullers() []puller {
	return []puller{&ctorPuller{}, &clientPuller{}, &dockerPuller{}, &skopeo{unpack: true}, &skopeo{}, &crane{}}
}

// pulls times pulls of images of several shapes from a registry on loopback, one
// peer after the other, each into a store that has nothing of the image.
func (b *bench) pulls(ctx context.Context) error {
	dir := filepath.Join(b.dir, "registry")
	host, err := b.needRegistry(ctx, dir)
	if err != nil {
		return err
	}
	var peers []puller
	for _, p := range allPullers() {
		if !b.wantsPeer(p.name()) {
			continue
		}
		b.say("starting %s", p.name())
		if err := p.start(ctx, b); err != nil {
			b.absent(p.name(), err)
			continue
		}
		peers = append(peers, p)
	}
	for _, s := range shapes(b.pullScale) {
		if !mentions(b.pullShapes, s.name()) {
			continue
		}
		b.say("making %s", s.name())
		if err := s.store(ctx, filepath.Join(dir, s.name())); err != nil {
			return err
		}
		if err := b.pullShape(ctx, peers, s.name(), host+"/"+s.name()+":1"); err != nil {
			return err
		}
	}
	return nil
}

// pullShape times one shape. A peer that can't pull it the first time, since it
// knows no zstd, is left out.
func (b *bench) pullShape(ctx context.Context, peers []puller, shape, ref string) error {
	able := make([]bool, len(peers))
	result := pull{Shape: shape}
	for _, p := range peers {
		result.Times = append(result.Times, series{Name: p.name()})
		result.CPU = append(result.CPU, series{Name: p.name()})
		result.PeakMiB = append(result.PeakMiB, series{Name: p.name()})
	}
	for round := range 1 + b.pullRounds {
		for n := range peers {
			n = (n + round) % len(peers)
			p := peers[n]
			if round > 0 && !able[n] {
				continue
			}
			b.say("%s: %s", shape, p.name())
			got, err := b.timedPull(ctx, p, ref)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil && round == 0 {
				b.absent(p.name()+" of "+shape, err)
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", p.name(), err)
			}
			able[n] = true
			if round > 0 {
				result.Times[n].Samples = append(result.Times[n].Samples, milli(got.took))
				result.CPU[n].Samples = append(result.CPU[n].Samples, milli(got.worked))
				result.PeakMiB[n].Samples = append(result.PeakMiB[n].Samples, float64(got.peak)/1024)
			}
		}
	}
	b.results.Pull = append(b.results.Pull, result)
	return nil
}

// pulled is what one pull took.
type pulled struct {
	took, worked time.Duration
	peak         int // KiB that this process grew by: of a peer in this process the memory that a pull takes
}

// timedPull pulls once, and forgets.
func (b *bench) timedPull(ctx context.Context, p puller, ref string) (got pulled, err error) {
	runtime.GC()
	idle, err := resident("VmRSS:", true)
	if err != nil {
		return got, err
	}
	before, err := b.worked()
	if err != nil {
		return got, err
	}
	start := time.Now()
	err = p.pull(ctx, ref)
	got.took = time.Since(start)
	after, werr := b.worked()
	most, perr := resident("VmHWM:", false)
	ferr := p.forget(ctx, ref)
	if err == nil {
		err = errors.Join(werr, perr, ferr)
	}
	got.worked, got.peak = after-before, most-idle
	return got, err
}
