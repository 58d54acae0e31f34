package egress

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Entry is what [Record] writes of a connection, as a line of JSON.
type Entry struct {
	Time      time.Time     `json:"time"`                // when it was asked for
	Container string        `json:"container,omitempty"` // the id of the container that asked
	Network   string        `json:"network"`             // "tcp" or "udp"; "dns": it looked up what a name has beside addresses
	Address   string        `json:"address"`             // "host:port", as the container asked; of "dns" the name
	Refused   string        `json:"refused,omitempty"`   // why there was no connection; "" if there was
	Sent      int64         `json:"sent"`                // bytes from the container
	Received  int64         `json:"received"`            // bytes to the container
	Duration  time.Duration `json:"duration"`            // until it was closed or refused, in nanoseconds
}

// Record writes an [Entry] to w for each connection that d was asked for: when
// it is closed, or at once if it is refused. Entries are written one at a time,
// each by one call of Write; an error of w is ignored, so that a full disk does
// not close the way out.
func Record(w io.Writer, d Dialer) Dialer {
	return (&recorder{w: w, next: d}).dial
}

type recorder struct {
	next Dialer
	mu   sync.Mutex
	w    io.Writer
}

func (r *recorder) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if q := asked(ctx, nil, r.next); q != nil {
		if q.forwards = q.below[0].forwards; q.name != "" {
			r.lookup(ctx, q)
		}
		return nil, errAsked
	}
	e := Entry{Time: time.Now(), Container: SourceOf(ctx).Container, Network: network, Address: address}
	c, err := r.next(ctx, network, address)
	if err != nil {
		e.Refused = err.Error()
		r.write(e)
		return nil, err
	}
	return &recorded{Conn: c, entry: e, write: r.write}, nil
}

// lookup writes down that a name's records were asked for.
func (r *recorder) lookup(ctx context.Context, q *question) {
	e := Entry{Time: time.Now(), Container: SourceOf(ctx).Container, Network: "dns", Address: q.name}
	if !q.forwards {
		e.Refused = "it is not forwarded"
	}
	r.write(e)
}

func (r *recorder) write(e Entry) {
	e.Duration = time.Since(e.Time)
	line, err := json.Marshal(e)
	if err != nil {
		return // of strings and numbers
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = r.w.Write(append(line, '\n'))
}

// recorded is a connection that is told of when it is closed.
type recorded struct {
	net.Conn
	entry          Entry
	write          func(Entry)
	sent, received atomic.Int64
	closed         sync.Once
}

func (c *recorded) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Add(int64(n))
	return n, err
}

func (c *recorded) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// NetConn gives the connection that it wraps.
func (c *recorded) NetConn() net.Conn { return c.Conn }

// CloseWrite passes on the end of what the container sends.
func (c *recorded) CloseWrite() error { return closeWrite(c.Conn) }

func (c *recorded) Close() error {
	err := c.Conn.Close()
	c.closed.Do(func() {
		e := c.entry
		e.Sent, e.Received = c.sent.Load(), c.received.Load()
		c.write(e)
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
