package life

import (
	"context"
	"testing"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ending is a runtime whose process ends while it is asked how it is, and that has let go
// of it when it answers.
type ending struct {
	api.TasksClient
	end   chan struct{}
	ended func() <-chan struct{}
}

func (e ending) Start(context.Context, *api.StartRequest, ...grpc.CallOption) (*api.StartResponse, error) {
	return &api.StartResponse{Pid: 1}, nil
}

func (e ending) Wait(context.Context, *api.WaitRequest, ...grpc.CallOption) (*api.WaitResponse, error) {
	<-e.end
	return &api.WaitResponse{ExitStatus: 7}, nil
}

func (e ending) Get(context.Context, *api.GetRequest, ...grpc.CallOption) (*api.GetResponse, error) {
	close(e.end)
	<-e.ended()
	return nil, status.Error(codes.NotFound, "gone")
}

// A Status that is asked for at the moment of a life's end tells how it has ended.
func TestStatusMeanwhile(t *testing.T) {
	var s *Seen
	r := ending{end: make(chan struct{}), ended: func() <-chan struct{} { return s.exited }}
	s = New(Process{Tasks: r}, Watching{Gone: errdefs.IsNotFound})
	require.NoError(t, s.Start(t.Context()))
	go s.Watch(t.Context(), func(*Exit) {})
	st, err := s.Status(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, "stopped", st.State)
	require.Equal(t, 7, st.Exit.Code)
}
