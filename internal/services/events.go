package services

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	eventsapi "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	apitypes "github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/pkg/filters"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/emptypb"
)

// backlog is how many events a subscriber may be behind. One that is further
// behind has stopped reading and is cut off with an error, so that it neither
// holds up the others nor fills memory.
const backlog = 4096

// exchange hands events from the services and the shims to subscribers.
// containerd's own can't be closed: it leaves a goroutine behind.
type exchange struct {
	mu          sync.Mutex
	subscribers []*subscriber
	closed      chan struct{}
}

func newExchange() *exchange { return &exchange{closed: make(chan struct{})} }

type subscriber struct {
	filter filters.Filter
	queue  chan *events.Envelope
	behind bool
}

var _ interface {
	events.Publisher
	events.Forwarder
	events.Subscriber
} = (*exchange)(nil)

func (x *exchange) Publish(ctx context.Context, topic string, event events.Event) error {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return fmt.Errorf("publish %s: %w", topic, err)
	}
	a, err := typeurl.MarshalAny(event)
	if err != nil {
		return fmt.Errorf("publish %s: %w", topic, err)
	}
	return x.Forward(ctx, &events.Envelope{
		Timestamp: time.Now().UTC(), Namespace: ns, Topic: topic, Event: a,
	})
}

func (x *exchange) Forward(_ context.Context, e *events.Envelope) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.subscribers {
		if s.behind || !s.filter.Match(e) {
			continue
		}
		select {
		case s.queue <- e:
		default:
			s.behind = true
			close(s.queue)
		}
	}
	return nil
}

func (x *exchange) Subscribe(ctx context.Context, fs ...string) (<-chan *events.Envelope, <-chan error) {
	out, errs := make(chan *events.Envelope), make(chan error, 1)
	filter, err := filters.ParseAll(fs...)
	if err != nil {
		errs <- fmt.Errorf("subscribe: %w: %w", err, errdefs.ErrInvalidArgument)
		close(errs)
		return out, errs
	}
	s := &subscriber{filter: filter, queue: make(chan *events.Envelope, backlog)}
	x.mu.Lock()
	x.subscribers = append(x.subscribers, s)
	x.mu.Unlock()
	go func() {
		defer close(errs)
		defer x.unsubscribe(s)
		if err := s.pump(ctx, out, x.closed); err != nil {
			errs <- err
		}
	}()
	return out, errs
}

// pump ends without an error when ctx or the exchange ends. It does not depend on
// the subscriber to keep reading.
func (s *subscriber) pump(ctx context.Context, out chan<- *events.Envelope, closed <-chan struct{}) error {
	for {
		select {
		case e, ok := <-s.queue:
			if !ok {
				return fmt.Errorf("events: subscriber is more than %d events behind: %w", backlog, errdefs.ErrResourceExhausted)
			}
			select {
			case out <- e:
			case <-ctx.Done():
				return nil
			case <-closed:
				return nil
			}
		case <-ctx.Done():
			return nil
		case <-closed:
			return nil
		}
	}
}

func (x *exchange) unsubscribe(s *subscriber) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.subscribers = slices.DeleteFunc(x.subscribers, func(o *subscriber) bool { return o == s })
}

// Close ends all subscriptions.
func (x *exchange) Close() error {
	close(x.closed)
	return nil
}

// fromShim takes events in as shims send them.
type fromShim struct{ *exchange }

var _ eventsapi.TTRPCEventsService = fromShim{}

func (f fromShim) Forward(ctx context.Context, r *eventsapi.ForwardRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, f.exchange.Forward(ctx, fromEnvelope(r.Envelope))
}

func fromEnvelope(e *apitypes.Envelope) *events.Envelope {
	return &events.Envelope{
		Timestamp: protobuf.FromTimestamp(e.GetTimestamp()),
		Namespace: e.GetNamespace(),
		Topic:     e.GetTopic(),
		Event:     e.GetEvent(),
	}
}
