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
	*stdio.Connection
	log      *logfile.Writer
	endInput func()
	ended    chan struct{}
	ending   sync.Once
}

func attach(out engine.Output, std engine.Stdio, connect func(stdio.Streams, *logfile.Writer) (*stdio.Connection, error)) (engine.Streams, error) {
	log, err := logfile.Create(logPath(out), out.Limit)
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	c, err := connect(stdio.Streams{In: std.In.Until(ended), Out: std.Out, Err: std.Err, TTY: out.TTY}, log)
	if err != nil {
		return nil, errors.Join(err, log.End())
	}
	return &attached{Connection: c, log: log, endInput: out.EndInput, ended: ended}, nil
}

// Given implements engine.Streams.
func (a *attached) Given(int) error {
	a.Connection.Given()
	return nil
}

// Begin implements life.Streams.
func (a *attached) Begin() { a.Connection.Begin(a.endInput) }

// Drain implements life.Streams.
func (a *attached) Drain(seen bool) error {
	a.endReading()
	if !seen {
		a.Cancel()
	}
	a.Wait()
	err := a.Err()
	if lerr := a.log.End(); lerr != nil && err == nil {
		err = fmt.Errorf("log: %w", lerr)
	}
	return err
}

// Drop implements life.Streams.
func (a *attached) Drop() {
	a.endReading()
	_ = a.Close()
}

func (a *attached) endReading() { a.ending.Do(func() { close(a.ended) }) }

// detached are streams that this program has nothing to do with.
type detached struct {
	config cio.Config
	given  func(pid int) error // nil: nothing is to be done then
}

// Hand gives the runtime streams that are there already. Whoever made them has
// the care of them.
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
