package task

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/stretchr/testify/require"
)

type publish func(ctx context.Context, topic string, event any) error

func (p publish) Publish(ctx context.Context, topic string, event any) error {
	return p(ctx, topic, event)
}

func TestOutboxOrder(t *testing.T) {
	var got []string
	o := newOutbox(publish(func(ctx context.Context, topic string, event any) error {
		ns, err := namespaces.NamespaceRequired(ctx)
		got = append(got, ns+topic+event.(*eventtypes.TaskDelete).ContainerID)
		return err
	}))
	var want []string
	for i := range 1000 {
		o.send("ns", &eventtypes.TaskDelete{ContainerID: fmt.Sprint(i)})
		want = append(want, fmt.Sprint("ns/tasks/delete", i))
	}
	o.close()
	require.Equal(t, want, got)
	o.send("ns", &eventtypes.TaskDelete{}) // is dropped
	require.Len(t, got, len(want))
}

// What was sent before close is published, however close the two are.
func TestOutboxCloses(t *testing.T) {
	for range 1000 {
		var n int
		o := newOutbox(publish(func(context.Context, string, any) error { n++; return nil }))
		var wg sync.WaitGroup
		wg.Go(func() { o.send("ns", &eventtypes.TaskDelete{}) })
		wg.Wait()
		o.close()
		require.Equal(t, 1, n)
	}
}

func TestOutboxStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(publish(func(ctx context.Context, _ string, _ any) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		for range 10 {
			o.send("ns", &eventtypes.TaskDelete{}) // nobody waits for the reader
		}
		began := time.Now()
		o.close()
		require.Equal(t, outboxPatience, time.Since(began))
	})
}

// A container that loses processes all the time fills no queue.
func TestOutboxOOM(t *testing.T) {
	read := make(chan struct{})
	var got []string
	o := newOutbox(publish(func(_ context.Context, topic string, event any) error {
		<-read
		got = append(got, topic)
		return nil
	}))
	for range 1000 {
		o.send("ns", &eventtypes.TaskOOM{ContainerID: "c"})
		o.send("ns", &eventtypes.TaskOOM{ContainerID: "other"})
	}
	o.send("ns", &eventtypes.TaskExit{ContainerID: "c"})
	close(read)
	o.close()
	require.LessOrEqual(t, len(got), 5, "two may have been read at once")
	require.GreaterOrEqual(t, len(got), 3)
}
