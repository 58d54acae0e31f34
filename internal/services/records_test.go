package services

import (
	"fmt"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/record"
)

// recordOf is a container's, held or not.
func recordOf(t *testing.T, id string, held bool) containers.Container {
	t.Helper()
	spec, err := typeurl.MarshalAny(&specs.Spec{})
	require.NoError(t, err)
	c := containers.Container{ID: id, Spec: spec, Runtime: containers.RuntimeInfo{Name: "r"}, Labels: map[string]string{"a": "b"}}
	if held {
		require.NoError(t, record.Record{Labels: c.Labels, Owner: "me"}.Put(&c))
	}
	return c
}

// A name is one record's, whether it is held or not, however many want it.
func TestOneRecord(t *testing.T) {
	s, _, _ := classed(t)
	store, ctx := s.Client().ContainerService(), testContext()
	for _, first := range []bool{true, false} {
		_, err := store.Create(ctx, recordOf(t, "c", first))
		require.NoError(t, err)
		for _, second := range []bool{true, false} {
			_, err := store.Create(ctx, recordOf(t, "c", second))
			require.ErrorIs(t, err, errdefs.ErrAlreadyExists, "%v, then %v", first, second)
		}
		list, err := store.List(ctx)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.NoError(t, store.Delete(ctx, "c"))
	}
	for range 20 {
		var made sync.Map
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if _, err := store.Create(ctx, recordOf(t, "c", i%2 == 0)); err == nil {
					made.Store(i, true)
				}
			})
		}
		wg.Wait()
		n := 0
		made.Range(func(any, any) bool { n++; return true })
		require.Equal(t, 1, n)
		require.NoError(t, store.Delete(ctx, "c"))
	}
}

// Updates of a held record at the same time are all in it.
func TestUpdatesOfOneRecord(t *testing.T) {
	s, _, _ := classed(t)
	store, ctx := s.Client().ContainerService(), testContext()
	c, err := store.Create(ctx, recordOf(t, "c", true))
	require.NoError(t, err)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			l := fmt.Sprint("l", i)
			_, err := store.Update(ctx, containers.Container{ID: "c", Labels: map[string]string{l: "x"}}, "labels."+l)
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := store.Get(ctx, "c")
	require.NoError(t, err)
	require.Len(t, got.Labels, len(c.Labels)+16)

	require.NoError(t, record.Record{}.Put(&got))
	got.Labels = map[string]string{"kept": "yes"}
	_, err = store.Update(ctx, got, "labels", record.Field)
	require.NoError(t, err)
	require.Empty(t, s.records.held, "it is in the database")
	got, err = store.Get(ctx, "c")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"kept": "yes"}, got.Labels)
	_, err = store.Update(ctx, containers.Container{ID: "none"}, "labels")
	require.ErrorIs(t, err, errdefs.ErrNotFound)
}
