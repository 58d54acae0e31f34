package life

import (
	"context"
	"errors"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ctorhq/ctor/internal/journal"
)

// A container of which the runtime has nothing is what its journal says.
func TestPast(t *testing.T) {
	gone := errors.New("gone")
	dir := t.TempDir()
	a := &Asked{Journal: journal.At(dir), Gone: func(err error) bool { return errors.Is(err, gone) }}
	require.EqualValues(t, "created", a.past().State)
	_, err := a.Journal.Begin(time.Now(), "")
	require.NoError(t, err)
	require.EqualValues(t, "stopped", a.past().State)
	require.Equal(t, Unknown, a.past().Exit.Code)
	require.NoError(t, a.Journal.End(Exit{Code: 7}))
	require.Equal(t, 7, a.past().Exit.Code)
	a.Journal = journal.At(dir + "/gone")
	require.EqualValues(t, "stopped", a.past().State)
	require.Equal(t, Unknown, a.past().Exit.Code)
}

// waited is a runtime that has nothing of a container, and does something before it says
// so.
type waited struct {
	api.TasksClient
	meanwhile func()
	err       error
}

func (w waited) Wait(context.Context, *api.WaitRequest, ...grpc.CallOption) (*api.WaitResponse, error) {
	w.meanwhile()
	return nil, w.err
}

// The end of a life is known also when its shim has begun the next one meanwhile.
func TestExitedBetween(t *testing.T) {
	gone := status.Error(codes.NotFound, "gone")
	j := journal.At(t.TempDir())
	begin := func() {
		_, err := j.Begin(time.Now(), "")
		require.NoError(t, err)
	}
	a := &Asked{
		Process: Process{Tasks: waited{err: gone, meanwhile: func() {
			require.NoError(t, j.End(Exit{Code: 7}))
			begin()
		}}},
		Enter:   func(ctx context.Context) (context.Context, func(), error) { return ctx, func() {}, nil },
		Gone:    errdefs.IsNotFound,
		Journal: j,
	}
	begin()
	for range 2 {
		e, err := a.Exited(t.Context())
		require.NoError(t, err)
		require.Equal(t, 7, e.Code)
	}
	a.Process.Tasks = waited{err: gone, meanwhile: begin} // nothing of its end was seen
	_, err := a.Exited(t.Context())
	require.ErrorIs(t, err, ErrUnseen)
}
