package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	eventsapi "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	"github.com/containerd/ttrpc"
	"github.com/containerd/typeurl/v2"

	"github.com/ctorhq/ctor/internal/shim/link"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// publisher is the shim's end: it hands events over in their order, to one
// caller at a time. Without a client it drops them: nobody listens to a
// detached shim.
type publisher struct {
	client *ttrpc.Client
	dial   func() (net.Conn, error) // nil: a connection that is lost stays so
	deaf   bool                     // the last event could not be handed over
}

var _ task.Publisher = (*publisher)(nil)

func newPublisher(kind string) (*publisher, error) {
	p := &publisher{}
	switch kind {
	case link.Attached:
		c, err := inherit(link.Events, net.FileConn)
		if err != nil {
			return nil, err
		}
		p.client = ttrpc.NewClient(c)
	case link.Stock:
		// containerd names its events service so.
		p.dial = func() (net.Conn, error) { return net.Dial("unix", os.Getenv("TTRPC_ADDRESS")) }
		c, err := p.dial()
		if err != nil {
			return nil, fmt.Errorf("connect to containerd: %w", err)
		}
		p.client = ttrpc.NewClient(c)
	}
	return p, nil
}

// Publish implements task.Publisher.
func (p *publisher) Publish(ctx context.Context, topic string, event any) error {
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
	return p.forward(ctx, &eventsapi.ForwardRequest{
		Envelope: &types.Envelope{
			Timestamp: protobuf.ToTimestamp(time.Now()),
			Namespace: ns,
			Topic:     topic,
			Event:     a,
		},
	})
}

// restartPatience is how long an event waits for a containerd that restarts.
const restartPatience = 10 * time.Second

// forward hands an event over, to the next containerd if one has gone. When
// none comes, events are dropped until there is one again.
func (p *publisher) forward(ctx context.Context, r *eventsapi.ForwardRequest) error {
	deadline := time.Now().Add(restartPatience)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		_, err := eventsapi.NewTTRPCEventsClient(p.client).Forward(ctx, r)
		if err == nil || !errors.Is(err, ttrpc.ErrClosed) {
			p.deaf = false
			return err
		}
		if p.dial == nil {
			return nil // the program is gone
		}
		c, derr := p.dial()
		if derr == nil {
			_ = p.client.Close()
			p.client = ttrpc.NewClient(c)
			continue
		}
		if p.deaf || time.Now().After(deadline) {
			p.deaf = true
			return errors.Join(err, derr)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
