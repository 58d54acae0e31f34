package native_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/shim/command"
	"github.com/ctorhq/ctor/internal/shim/native"
	"github.com/ctorhq/ctor/internal/shim/task"
	"github.com/ctorhq/ctor/internal/shim/task/tasktest"
)

func TestMain(m *testing.M) { tasktest.Main(m) }

// The suite, with the runc command for what is handed to another executor.
func TestConformance(t *testing.T) {
	var handed counter
	tasktest.Run(t, func(t *testing.T) task.Executor {
		e := native.New(&handed, nil)
		require.NoError(t, e.Able())
		t.Cleanup(e.Close)
		return e
	})
	for id, what := range handed.over {
		t.Logf("%s: %s", id, what)
	}
}

// counter notes what it is handed, and has it done.
type counter struct {
	mu   sync.Mutex
	over map[string]string
}

func (c *counter) Create(ctx context.Context, b task.Bundle, io task.Stdio) (task.Container, task.Process, error) {
	c.mu.Lock()
	if c.over == nil {
		c.over = map[string]string{}
	}
	c.over[b.Spec.Linux.CgroupsPath] = native.Beyond(b)
	c.mu.Unlock()
	return command.New("runc").Create(ctx, b, io)
}

// What containers see is what runc's see.
func TestSame(t *testing.T) {
	tasktest.Same(t, func(*testing.T) task.Executor { return command.New("runc") }, own, "modes of a tmpfs", "names")
}

// own is the executor with nobody to hand anything to.
func own(t *testing.T) task.Executor {
	e := native.New(nobody{t}, nil)
	require.NoError(t, e.Able())
	t.Cleanup(e.Close)
	return e
}

type nobody struct{ *testing.T }

func (n nobody) Create(_ context.Context, b task.Bundle, _ task.Stdio) (task.Container, task.Process, error) {
	err := fmt.Errorf("handed over: %s", native.Beyond(b))
	n.Error(err)
	return nil, task.Process{}, err
}
