package backend

import (
	"errors"
	"fmt"
	"sync"

	"github.com/containerd/containerd/v2/pkg/cio"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/logfile"
	"github.com/ctorhq/ctor/internal/stdio"
)

// attached are streams that this program copies.
type attached struct {
	stdio.Streams
	log    *logfile.Writer
	kind   stdio.Kind
	ended  chan struct{}
	ending sync.Once
}

// attach makes pipes for a runtime, which relays them or has the process open them.
func attach(out engine.Output, std engine.Stdio, relay bool) (engine.Streams, error) {
	log, err := logfile.Create(logPath(out), out.Limit)
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	a := &attached{log: log, kind: stdio.Kind{Relay: relay, EOF: out.EndInput, Ended: ended}, ended: ended}
	if err := a.OpenLogged(std.In.Next(), std.Out, std.Err, out.TTY, log); err != nil {
		a.Drop()
		return nil, errors.Join(err, log.End())
	}
	return a, nil
}

// Given implements engine.Streams.
func (*attached) Given(int) error { return nil }

// Begin implements life.Streams.
func (a *attached) Begin() { a.Streams.Begin(a.kind) }

// Drain implements life.Streams.
func (a *attached) Drain(seen bool) error {
	a.endInput()
	if !seen {
		a.Close()
	}
	if copied := a.Copied(); copied != nil {
		<-copied
	}
	err := a.Err()
	if lerr := a.log.End(); lerr != nil && err == nil {
		err = fmt.Errorf("log: %w", lerr)
	}
	a.Close()
	return err
}

// Drop implements life.Streams.
func (a *attached) Drop() {
	a.endInput()
	a.Close()
}

func (a *attached) endInput() {
	a.ending.Do(func() { close(a.ended) })
	a.StopInput()
}

// detached are streams that this program has nothing to do with.
type detached struct {
	config cio.Config
	given  func(pid int) error // nil: nothing is to be done then
}

// Hand gives the runtime streams that are there already, and that their maker takes
// care of.
func Hand(c cio.Config) engine.Streams { return detached{config: c} }

func (d detached) Config() cio.Config { return d.config }

func (d detached) Given(pid int) error {
	if d.given == nil {
		return nil
	}
	return d.given(pid)
}

func (detached) Begin()           {}
func (detached) Drain(bool) error { return nil }
func (detached) Drop()            {}
