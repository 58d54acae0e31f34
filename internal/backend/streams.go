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
	log    *logfile.Writer // when opened is closed
	failed error           // that there is none
	opened chan struct{}
	kind   stdio.Kind
	ended  chan struct{}
	ending sync.Once
}

// attach makes pipes for a runtime, which relays them or has the process open them. The
// log is opened while the runtime makes the process.
func attach(out engine.Output, std engine.Stdio, relay bool) (engine.Streams, error) {
	ended := make(chan struct{})
	a := &attached{opened: make(chan struct{}), kind: stdio.Kind{Relay: relay, EOF: out.EndInput, Ended: ended}, ended: ended}
	go func() {
		defer close(a.opened)
		a.log, a.failed = logfile.Create(logPath(out), out.Limit)
	}()
	if err := a.OpenLogged(std.In.Next(), std.Out, std.Err, out.TTY, func() *logfile.Writer { return a.log }); err != nil {
		a.Drop()
		return nil, errors.Join(err, a.endLog())
	}
	return a, nil
}

// Given implements engine.Streams.
func (a *attached) Given(int) error {
	<-a.opened
	return a.failed
}

// endLog ends the log, if there is one.
func (a *attached) endLog() error {
	<-a.opened
	if a.log == nil {
		return nil
	}
	return a.log.End()
}

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
	if lerr := a.endLog(); lerr != nil && err == nil {
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
