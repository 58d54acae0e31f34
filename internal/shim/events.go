package shim

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	eventsapi "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	"github.com/containerd/ttrpc"
	"github.com/containerd/typeurl/v2"
)

// eventStream is the engine's end of the way events take.
type eventStream struct {
	server *ttrpc.Server
	done   chan struct{}
}

func serveEvents(c net.Conn, events Events) (*eventStream, error) {
	s, err := ttrpc.NewServer()
	if err != nil {
		return nil, err
	}
	eventsapi.RegisterTTRPCEventsService(s, events)
	e := &eventStream{server: s, done: make(chan struct{})}
	go func() {
		defer close(e.done)
		_ = s.Serve(context.Background(), newSingle(c))
	}()
	return e, nil
}

func (e *eventStream) close() {
	e.server.Close()
	<-e.done
}

// publisher is the shim's end: it hands events over in their order. Without a
// client it drops them: nobody listens to a detached shim. It is called by one
// goroutine.
type publisher struct {
	client *ttrpc.Client
	// By container: that it has exited, or the deletion that is held back
	// until it has. runc's service tells whoever waits of an exit before it
	// tells us, and so may tell us first that the container was deleted.
	exited  map[string]bool
	deleted map[string]events.Event
}

func newPublisher() *publisher {
	return &publisher{exited: map[string]bool{}, deleted: map[string]events.Event{}}
}

var _ events.Publisher = (*publisher)(nil)

func (p *publisher) Publish(ctx context.Context, topic string, event events.Event) error {
	if p.client == nil {
		return nil
	}
	switch e := event.(type) {
	case *eventtypes.TaskDelete:
		if !p.exited[e.ContainerID] {
			p.deleted[e.ContainerID] = event
			return nil
		}
		delete(p.exited, e.ContainerID)
	case *eventtypes.TaskExit:
		if e.ID != e.ContainerID {
			break // of a process that was added
		}
		err := p.send(ctx, topic, event)
		if held := p.deleted[e.ContainerID]; held != nil {
			delete(p.deleted, e.ContainerID)
			return errors.Join(err, p.send(ctx, runtime.TaskDeleteEventTopic, held))
		}
		p.exited[e.ContainerID] = true
		return err
	}
	return p.send(ctx, topic, event)
}

func (p *publisher) send(ctx context.Context, topic string, event events.Event) error {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return err
	}
	a, err := typeurl.MarshalAnyToProto(event)
	if err != nil {
		return err
	}
	_, err = eventsapi.NewTTRPCEventsClient(p.client).Forward(ctx, &eventsapi.ForwardRequest{
		Envelope: &types.Envelope{
			Timestamp: protobuf.ToTimestamp(time.Now()),
			Namespace: ns,
			Topic:     topic,
			Event:     a,
		},
	})
	if errors.Is(err, ttrpc.ErrClosed) {
		return nil // the program is gone
	}
	return err
}

func (p *publisher) Close() error {
	if p.client == nil {
		return nil
	}
	return p.client.Close()
}

// single is a listener over one connection that is there already.
type single struct {
	conn   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newSingle(c net.Conn) *single {
	s := &single{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	s.conn <- c
	return s
}

func (s *single) Accept() (net.Conn, error) {
	select {
	case c := <-s.conn:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *single) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *single) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }
