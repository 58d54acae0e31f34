package shim

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	eventsapi "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/events"
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

// publisher is the shim's end: it hands events over in their order. A nil
// client drops them: nobody listens to a detached shim.
type publisher struct{ client *ttrpc.Client }

var _ events.Publisher = publisher{}

func (p publisher) Publish(ctx context.Context, topic string, event events.Event) error {
	if p.client == nil {
		return nil
	}
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

func (p publisher) Close() error {
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
