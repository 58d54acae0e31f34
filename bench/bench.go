package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// bench is one run.
type bench struct {
	options
	dir     string // of everything that the peers make
	name    string // of the cgroup above all that the peers run, and of namespaces
	program string // this one's path
	image   *material
	results *results
	peers   []peer // that are there
	failed  error  // of those that are there and do not work
	undo    []func() error

	containerd *containerd // nil: not started
	dockerd    *dockerd    // nil: not started
}

func newBench(o options) (*bench, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// Short, as sockets are below it.
	dir, err := os.MkdirTemp(o.below, "ctor-bench-")
	if err != nil {
		return nil, err
	}
	// The containers' root file systems are below it, and Docker remaps nothing.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, err
	}
	return &bench{options: o, dir: dir, name: filepath.Base(dir), program: program, results: newResults(o)}, nil
}

// later has f called when the bench ends; the last one first.
func (b *bench) later(f func() error) { b.undo = append(b.undo, f) }

// close removes all that the bench has made on this host.
func (b *bench) close() error {
	var errs []error
	for n := len(b.undo) - 1; n >= 0; n-- {
		errs = append(errs, b.undo[n]())
	}
	errs = append(errs, b.sweep())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}

// measure starts the peers, and takes every measurement that is wanted.
func (b *bench) measure(ctx context.Context) error {
	var err error
	if b.image, err = b.makeImage(ctx); err != nil {
		return err
	}
	for _, p := range allPeers() {
		if !b.wantsPeer(p.name()) || b.only == "pull" {
			continue
		}
		if err := b.start(ctx, p); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"life", b.lives}, {"warm", b.warms}, {"exec", b.execs}, {"rate", b.rates}, {"soak", b.soaks}, {"idle", b.idles}, {"open", b.opens}, {"pull", b.pulls}} {
		if !b.wants(part.name) {
			continue
		}
		b.say("measuring %s", part.name)
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return b.failed
}

// start readies a peer, and sees one life of it. One that the host lacks, or
// that does not work here, is put on record, and the others go on.
func (b *bench) start(ctx context.Context, p peer) error {
	b.say("starting %s", p.name())
	err := p.start(ctx, b)
	if err == nil {
		err = p.life(ctx)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		b.absent(p.name(), err)
		return nil
	}
	b.peers = append(b.peers, p)
	return nil
}

// absent puts a peer on record that can't be measured.
func (b *bench) absent(peer string, err error) {
	b.results.Missing = append(b.results.Missing, absent{peer, err.Error()})
	var m *missing
	if !errors.As(err, &m) {
		b.failed = errors.Join(b.failed, fmt.Errorf("%s: %w", peer, err))
	}
}

// say tells a person what is going on.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}
