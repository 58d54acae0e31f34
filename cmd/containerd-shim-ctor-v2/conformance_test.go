package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/shim/task"
	"github.com/ctorhq/ctor/internal/shim/task/tasktest"

	"github.com/ctorhq/ctor/cmd/containerd-shim-ctor-v2/hook"
	"github.com/ctorhq/ctor/cmd/containerd-shim-ctor-v2/libcontainer"
)

// This test binary is a shim: it is executed again as containers' first
// process, and runs sealed.
func TestMain(m *testing.M) {
	if err := hook.Seal(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	tasktest.Main(m)
}

// The service over libcontainer does what it does over the runc command. It
// has a process of its own for that: the service reaps what nobody in it waits
// for, and the executor's own tests wait for themselves.
func TestConformance(t *testing.T) {
	tasktest.Run(t, newLibcontainer)
}

func newLibcontainer(t *testing.T) task.Executor {
	e, err := libcontainer.New("", "")
	require.NoError(t, err)
	t.Cleanup(e.Close)
	return e
}
