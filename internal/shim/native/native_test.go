package native_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
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

// own is the executor without a fallback.
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

// On a host that can't, the other executor makes everything; where there is none, the
// error says why, and what would.
func TestHandedOver(t *testing.T) {
	why, lacks := errors.New("mount_setattr: not implemented"), errors.New("no runc: install it")
	b := task.Bundle{ID: "x", Spec: &specs.Spec{Process: &specs.Process{Args: []string{"true"}, Cwd: "/"}, Linux: &specs.Linux{}}}
	e := native.Without(handed{}, why)
	require.ErrorIs(t, e.Able(), why)
	_, _, err := e.Create(t.Context(), b, task.Stdio{})
	require.ErrorIs(t, err, errHanded)
	e.Close()
	_, _, err = native.Without(nil, why).Create(t.Context(), b, task.Stdio{})
	require.Error(t, err)
	e = native.New(nil, lacks)
	defer e.Close()
	_, _, err = e.Create(t.Context(), b, task.Stdio{})
	require.ErrorIs(t, err, lacks)
	require.ErrorContains(t, err, "a cgroup without a path of its own")
}

var errHanded = errors.New("handed over")

// handed is an executor that makes nothing.
type handed struct{}

func (handed) Create(context.Context, task.Bundle, task.Stdio) (task.Container, task.Process, error) {
	return nil, task.Process{}, errHanded
}

func nativeOver(t *testing.T, e task.Executor) task.Executor {
	n := native.New(e, nil)
	require.NoError(t, n.Able())
	t.Cleanup(n.Close)
	return n
}

const (
	patience = 30 * time.Second
	tick     = time.Millisecond
)
