package reach

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/containerd/errdefs"
)

// ErrClosed is the error of a door that is closed.
var ErrClosed = fmt.Errorf("it is closed: %w", errdefs.ErrNotFound)

// OpError makes a door's error what package net would give, with the container's
// name.
func OpError(op, network, address, container string, err error) error {
	e := &net.OpError{Op: op, Net: network}
	if in, ok := err.(*net.OpError); ok {
		e.Source, e.Addr, err = in.Source, in.Addr, in.Err
	}
	if strings.HasPrefix(network, "unix") {
		e.Addr = &net.UnixAddr{Name: address, Net: network}
	}
	e.Err = &inContainer{container, err}
	return e
}

// Bare is what OpError was given, for a caller that says itself what it dialed.
func Bare(err error) error {
	var in *inContainer
	if errors.As(err, &in) {
		return in.err
	}
	return err
}

// inContainer is an error within a net.OpError, which asks it alone, and nothing
// that it wraps, whether it is a timeout.
type inContainer struct {
	name string
	err  error
}

func (e *inContainer) Error() string { return fmt.Sprintf("container %q: %v", e.name, e.err) }
func (e *inContainer) Unwrap() error { return e.err }

func (e *inContainer) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.err, &t) && t.Timeout()
}
