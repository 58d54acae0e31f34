package services

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/containerd/containerd/api/events"
	core "github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/stretchr/testify/require"
)

func publish(t testing.TB, x *exchange, topic, id string) {
	t.Helper()
	ctx := namespaces.WithNamespace(context.Background(), "test")
	require.NoError(t, x.Publish(ctx, topic, &events.TaskStart{ContainerID: id}))
}

func id(t testing.TB, e *core.Envelope) string {
	t.Helper()
	v, err := typeurl.UnmarshalAny(e.Event)
	require.NoError(t, err)
	return v.(*events.TaskStart).ContainerID
}

func TestExchange(t *testing.T) {
	x := newExchange()
	ctx, cancel := context.WithCancel(t.Context())
	all, allErrs := x.Subscribe(ctx)
	some, _ := x.Subscribe(t.Context(), `topic=="/b"`)
	for n := range 100 { // nobody waits for anybody
		publish(t, x, "/a", fmt.Sprint(n))
	}
	publish(t, x, "/b", "b")
	for n := range 100 {
		e := <-all
		require.Equal(t, "/a", e.Topic)
		require.Equal(t, "test", e.Namespace)
		require.False(t, e.Timestamp.IsZero())
		require.Equal(t, fmt.Sprint(n), id(t, e), "in their order")
	}
	require.Equal(t, "/b", (<-some).Topic)
	cancel()
	require.NoError(t, <-allErrs, "who went away is no error")
	require.NoError(t, x.Close())
}

func TestExchangeRefuses(t *testing.T) {
	x := newExchange()
	defer x.Close()
	_, errs := x.Subscribe(t.Context(), "not ( a filter")
	require.ErrorIs(t, <-errs, errdefs.ErrInvalidArgument)
	_, more := <-errs
	require.False(t, more)
	err := x.Publish(t.Context(), "/a", &events.TaskStart{})
	require.ErrorIs(t, err, errdefs.ErrFailedPrecondition, "an event has a namespace")
}

// One that stopped reading is cut off, and told so; the others get all.
func TestExchangeSlow(t *testing.T) {
	x := newExchange()
	defer func() { require.NoError(t, x.Close()) }()
	slow, slowErrs := x.Subscribe(t.Context())
	good, _ := x.Subscribe(t.Context())
	const sent = backlog + 100
	for n := range sent {
		publish(t, x, "/a", fmt.Sprint(n))
		require.Equal(t, fmt.Sprint(n), id(t, <-good))
	}
	var got int
	for {
		select {
		case e := <-slow:
			require.Equal(t, fmt.Sprint(got), id(t, e))
			got++
			continue
		case err := <-slowErrs:
			require.ErrorIs(t, err, errdefs.ErrResourceExhausted)
			require.EqualError(t, err, "events: subscriber is more than 4096 events behind: resource exhausted")
		}
		break
	}
	require.GreaterOrEqual(t, got, backlog)
	require.Less(t, got, sent)
	_, more := <-slowErrs
	require.False(t, more)
	x.mu.Lock()
	defer x.mu.Unlock()
	require.Len(t, x.subscribers, 1)
}

// Close ends subscriptions, also those that nobody reads.
func TestExchangeClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange()
		_, idle := x.Subscribe(context.Background())
		_, stuck := x.Subscribe(context.Background())
		publish(t, x, "/a", "a")
		synctest.Wait()
		require.NoError(t, x.Close())
		require.NoError(t, <-idle)
		require.NoError(t, <-stuck)
		_, late := x.Subscribe(context.Background())
		require.NoError(t, <-late)
		publish(t, x, "/a", "nobody hears it")
	})
}

func TestExchangeRace(t *testing.T) {
	x := newExchange()
	var publishers, subscribers sync.WaitGroup
	for range 8 {
		subscribers.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			for {
				events, errs := x.Subscribe(ctx)
				for range 10 {
					select {
					case <-events:
					case err := <-errs:
						if err != nil && !errors.Is(err, errdefs.ErrResourceExhausted) {
							t.Error(err)
						}
						return
					}
				}
			}
		})
		publishers.Go(func() {
			for n := range 200 {
				publish(t, x, "/a", fmt.Sprint(n))
				runtime.Gosched()
			}
		})
	}
	publishers.Wait()
	require.NoError(t, x.Close())
	subscribers.Wait()
}
