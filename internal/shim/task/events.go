package task

import (
	"context"
	"sync"
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/namespaces"
)

// Publisher takes events, in their order.
type Publisher interface {
	Publish(ctx context.Context, topic string, event any) error
}

// outbox hands events to a publisher one after the other, so that nothing in
// the service waits for their reader. An event that can't be published
// is lost: its reader is.
type outbox struct {
	to   Publisher
	ctx  context.Context // of the publishing
	stop context.CancelFunc
	wake chan struct{}
	done chan struct{}

	mu     sync.Mutex
	queue  []letter
	ooms   map[key]bool // whose are in queue
	closed bool
}

type letter struct {
	ns    string
	event any
}

// outboxPatience is how long close waits for a reader that takes nothing. As
// long as the service lives there is no limit: a program may be stopped in a
// debugger.
const outboxPatience = 2 * time.Second

func newOutbox(to Publisher) *outbox {
	o := &outbox{to: to, wake: make(chan struct{}, 1), done: make(chan struct{})}
	o.ctx, o.stop = context.WithCancel(context.Background())
	go o.run()
	return o
}

// send never waits. After close it does nothing.
func (o *outbox) send(ns string, event any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.repeats(ns, event) {
		return
	}
	o.queue = append(o.queue, letter{ns, event})
	o.signal()
}

// repeats tells of kills for want of memory that they can be told as one that
// waits: a container may have them as often as it likes, and the queue would
// grow while they are not read.
func (o *outbox) repeats(ns string, event any) bool {
	oom, ok := event.(*eventtypes.TaskOOM)
	if !ok {
		return false
	}
	k := key{ns, oom.ContainerID}
	if o.ooms[k] {
		return true
	}
	if o.ooms == nil {
		o.ooms = map[key]bool{}
	}
	o.ooms[k] = true
	return false
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) run() {
	defer close(o.done)
	for range o.wake {
		o.mu.Lock()
		queue, closed := o.queue, o.closed
		o.queue, o.ooms = nil, nil
		o.mu.Unlock()
		for _, l := range queue {
			_ = o.to.Publish(namespaces.WithNamespace(o.ctx, l.ns), runtime.GetTopic(l.event), l.event)
		}
		if closed {
			return
		}
	}
}

// close sends what is left.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.signal()
	o.mu.Unlock()
	limit := time.AfterFunc(outboxPatience, o.stop)
	defer limit.Stop()
	<-o.done
	o.stop()
}
