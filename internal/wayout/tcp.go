package wayout

import (
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/relay"
)

const dnsPort = 53

// accept takes connections until the listener is closed.
func (w *Way) accept(l *net.TCPListener) {
	for {
		in, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// The program is out of descriptors, or the like. They stay in the
			// kernel's queue meanwhile.
			select {
			case <-w.life.Done():
				return
			case <-time.After(10 * time.Millisecond):
				continue
			}
		}
		w.tasks.Go(func() { w.connect(in) })
	}
}

// connect joins a connection of the container with one of the dialer.
func (w *Way) connect(in *net.TCPConn) {
	f := flow{plain(in.RemoteAddr().(*net.TCPAddr).AddrPort()), plain(in.LocalAddr().(*net.TCPAddr).AddrPort())}
	if w.crowded() {
		relay.Reset(in)
		if out := w.take(f); out != nil {
			out.Close()
		}
		return
	}
	if !w.keep(in) {
		return
	}
	defer w.drop(in)
	if f.to.Port() == dnsPort {
		w.names.serveStream(in)
		return
	}
	out := w.take(f)
	if out == nil {
		var err error
		if out, err = w.ask("tcp", f); err != nil {
			relay.Reset(in)
			return
		}
	}
	if !w.keep(out) {
		return
	}
	defer w.drop(out)
	_ = in.SetReadBuffer(buffer)
	_ = in.SetWriteBuffer(buffer)
	relay.Join(in, out)
}

// crowded tells whether there are as many connections as there may be.
func (w *Way) crowded() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.conns) >= 2*mostConns // each with its other half
}

// take gives the connection that was dialled while the SYN waited, if there is
// one.
func (w *Way) take(f flow) net.Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.ready[f]
	delete(w.ready, f)
	return out
}

// offer keeps a connection for the one that the container now opens. It is
// closed if that does not come soon.
func (w *Way) offer(f flow, out net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		out.Close()
		return
	}
	if old := w.ready[f]; old != nil {
		old.Close()
	}
	w.ready[f] = out
	time.AfterFunc(5*time.Second, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.ready[f] == out {
			delete(w.ready, f)
			out.Close()
		}
	})
}

// unreachable tells whether a dialer's error says that the host, and not the
// port, can't be reached.
func unreachable(err error) bool {
	return errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.ETIMEDOUT) || isTimeout(err)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
