package tasktest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	eventtypes "github.com/containerd/containerd/api/events"

	"github.com/ctorhq/ctor/internal/shim/task"
)

// recorder keeps the events of every container, in words.
type recorder struct {
	mu   sync.Mutex
	of   map[string][]string
	wake chan struct{} // closed at the next event
}

var _ task.Publisher = (*recorder)(nil)

func newRecorder() *recorder {
	return &recorder{of: map[string][]string{}, wake: make(chan struct{})}
}

// Publish implements task.Publisher.
func (r *recorder) Publish(_ context.Context, topic string, event any) error {
	id, text := words(event)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of[id] = append(r.of[id], text)
	close(r.wake)
	r.wake = make(chan struct{})
	return nil
}

func words(event any) (id, text string) {
	switch e := event.(type) {
	case *eventtypes.TaskCreate:
		return e.ContainerID, "create"
	case *eventtypes.TaskStart:
		return e.ContainerID, "start"
	case *eventtypes.TaskExecAdded:
		return e.ContainerID, "exec-added " + e.ExecID
	case *eventtypes.TaskExecStarted:
		return e.ContainerID, "exec-started " + e.ExecID
	case *eventtypes.TaskPaused:
		return e.ContainerID, "paused"
	case *eventtypes.TaskResumed:
		return e.ContainerID, "resumed"
	case *eventtypes.TaskOOM:
		return e.ContainerID, "oom"
	case *eventtypes.TaskExit:
		return e.ContainerID, fmt.Sprintf("exit %s %d", e.ID, e.ExitStatus)
	case *eventtypes.TaskDelete:
		return e.ContainerID, "delete"
	}
	return "", fmt.Sprintf("%T", event)
}

// until waits for an event of a container, and gives all there were till then.
func (b *bed) until(id, text string) []string {
	b.Helper()
	for {
		b.told.mu.Lock()
		all, wake := slices.Clone(b.told.of[id]), b.told.wake
		b.told.mu.Unlock()
		if slices.Contains(all, text) {
			return all
		}
		select {
		case <-wake:
		case <-b.ctx.Done():
			b.Fatalf("no event %q, but %q", text, all)
		}
	}
}
