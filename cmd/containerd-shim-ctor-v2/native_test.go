package main

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/shim/native"
	"github.com/ctorhq/ctor/internal/shim/task"
	"github.com/ctorhq/ctor/internal/shim/task/tasktest"
)

// What containers of our own executor see is what libcontainer's see. A process
// whose capabilities are not configured has none with ours, as with runc 1.1, and all
// with libcontainer.
func TestSame(t *testing.T) {
	tasktest.Same(t, newLibcontainer, func(t *testing.T) task.Executor {
		e := native.New(refusing{t}, nil)
		require.NoError(t, e.Able())
		t.Cleanup(e.Close)
		return e
	}, "no capabilities")
}

// refusing is a fallback that fails the test when a container is handed over to it.
type refusing struct{ *testing.T }

func (r refusing) Create(context.Context, task.Bundle, task.Stdio) (task.Container, task.Process, error) {
	err := errors.New("a container was handed over")
	r.Error(err)
	return nil, task.Process{}, err
}
