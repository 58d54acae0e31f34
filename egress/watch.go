package egress

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Decision is what became of one thing that a container asked for.
type Decision struct {
	Time      time.Time     `json:"time"`                // when it was asked for
	Container string        `json:"container,omitempty"` // the id of the container that asked
	Network   string        `json:"network"`             // "tcp" or "udp"; "dns": it looked up what a name has beside addresses
	Address   string        `json:"address"`             // "host:port", as the container asked; of "dns" the name
	Remote    string        `json:"remote,omitempty"`    // what it is connected to, if that has an address
	Verdict   Verdict       `json:"verdict"`             // what became of it
	Reason    string        `json:"reason,omitempty"`    // why it is not Allowed
	Ended     bool          `json:"ended"`               // nothing more comes of it: it is closed, or was not Allowed
	Sent      int64         `json:"sent"`                // bytes from the container; 0 before it has ended
	Received  int64         `json:"received"`            // bytes to the container; 0 before it has ended
	Duration  time.Duration `json:"duration"`            // until now, in nanoseconds
}

// Verdict is what became of a request.
type Verdict string

// The verdicts. A connection is Refused by a policy of this package
// ([ErrRefused]), and Failed for any other reason, such as a host that can't be
// reached, or an error of the program's own Dialer.
const (
	Allowed Verdict = "allowed"
	Refused Verdict = "refused"
	Failed  Verdict = "failed"
)

// Watch tells f of each connection that d was asked for, and of each lookup
// ([Forwards]): when it is decided, and, of a connection that there is, once more
// when it is closed, with the bytes it has carried. f is called from many
// goroutines at once, and what it does the container waits for.
func Watch(d Dialer, f func(Decision)) Dialer {
	return (&watcher{d, f}).dial
}

type watcher struct {
	next Dialer
	tell func(Decision)
}

func (w *watcher) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if q := asked(ctx, nil, w.next); q != nil {
		if q.forwards = q.below[0].forwards; q.name != "" {
			w.lookup(ctx, q)
		}
		return nil, errAsked
	}
	e := Decision{Time: time.Now(), Container: SourceOf(ctx).Container, Network: network, Address: address, Verdict: Allowed}
	c, err := w.next(ctx, network, address)
	if err != nil {
		e.Verdict, e.Reason, e.Ended = Failed, err.Error(), true
		if errors.Is(err, ErrRefused) {
			e.Verdict = Refused
		}
	} else if at := c.RemoteAddr(); at != nil && (at.Network() == "tcp" || at.Network() == "udp") {
		e.Remote = at.String()
	}
	e.Duration = time.Since(e.Time)
	w.tell(e)
	if err != nil {
		return nil, err
	}
	return &watched{Conn: c, decision: e, tell: w.tell}, nil
}

// lookup tells that a name's records were asked for.
func (w *watcher) lookup(ctx context.Context, q *question) {
	e := Decision{Time: time.Now(), Container: SourceOf(ctx).Container, Network: "dns", Address: q.name, Verdict: Allowed, Ended: true}
	if !q.forwards {
		e.Verdict, e.Reason = Refused, "it is not forwarded"
	}
	w.tell(e)
}

// watched is a connection that is told of when it is closed.
type watched struct {
	net.Conn
	decision       Decision
	tell           func(Decision)
	sent, received atomic.Int64
	closed         sync.Once
}

func (c *watched) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Add(int64(n))
	return n, err
}

func (c *watched) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// NetConn gives the connection that it wraps, and Count is told of what went by that:
// see package relay.
func (c *watched) NetConn() net.Conn { return c.Conn }

// Count is told of at NetConn.
func (c *watched) Count(received, sent int64) {
	c.received.Add(received)
	c.sent.Add(sent)
}

// CloseWrite passes on the end of what the container sends.
func (c *watched) CloseWrite() error { return closeWrite(c.Conn) }

func (c *watched) Close() error {
	err := c.Conn.Close()
	c.closed.Do(func() {
		e := c.decision
		e.Ended, e.Duration = true, time.Since(e.Time)
		e.Sent, e.Received = c.sent.Load(), c.received.Load()
		c.tell(e)
	})
	return err
}

// closeWrite ends what is sent on c; both directions, where c has one end for both.
func closeWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.Close()
}
