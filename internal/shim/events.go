package shim

import (
	"context"
	"net"

	eventsapi "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/ttrpc"

	"github.com/ctorhq/ctor/internal/shim/link"
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
		_ = s.Serve(context.Background(), link.Listen(c))
	}()
	return e, nil
}

func (e *eventStream) close() {
	e.server.Close()
	<-e.done
}
