package engine_test

import (
	"context"
	"testing"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ctorhq/ctor/internal/backend"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/internal/record"
)

// What containers of other programs had is free when those programs have removed them,
// and what a container has that is being made is not.
func TestTakeUsers(t *testing.T) {
	client := fixture.Open(t).Containerd()
	store := client.ContainerService()
	e := &engine.Engine{Client: client, Namespace: "test", Backend: backend.Running{}}
	ctx := namespaces.WithNamespace(t.Context(), e.Namespace)

	write := func(id string, first uint32) {
		c := containers.Container{ID: id, Runtime: containers.RuntimeInfo{Name: "some"}, Spec: &anypb.Any{}}
		require.NoError(t, (&record.Record{Users: first}).Put(&c))
		_, err := store.Create(ctx, c)
		require.NoError(t, err)
	}
	theirs, err := e.TakeUsers(ctx, "theirs")
	require.NoError(t, err)
	write("theirs", theirs)
	taken := map[uint32]bool{theirs: true}
	for {
		first, err := e.TakeUsers(ctx, "made")
		if err != nil {
			require.ErrorIs(t, err, errdefs.ErrUnavailable)
			break
		}
		require.False(t, taken[first], "%d", first)
		taken[first] = true
	}
	require.NoError(t, store.Delete(ctx, "theirs"))
	again, err := e.TakeUsers(ctx, "other")
	require.NoError(t, err)
	require.Equal(t, theirs, again)
	_, err = e.TakeUsers(context.WithoutCancel(ctx), "none left")
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
}
