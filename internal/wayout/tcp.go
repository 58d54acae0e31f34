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
		select {
		case w.places <- struct{}{}:
			w.tasks.Go(func() {
				defer func() { <-w.places }()
				w.connect(in)
			})
		default:
			if out := w.held.take(ends(in)); out != nil {
				out.Close()
			}
			relay.Reset(in)
		}
	}
}

// ends tells who speaks to whom by a connection of the container.
func ends(in *net.TCPConn) flow {
	return flow{plain(in.RemoteAddr().(*net.TCPAddr).AddrPort()), plain(in.LocalAddr().(*net.TCPAddr).AddrPort())}
}

// connect joins a connection of the container with one of the dialer.
func (w *Way) connect(in *net.TCPConn) {
	if !w.keep(in) {
		return
	}
	defer w.drop(in)
	f := ends(in)
	if f.to.Port() == dnsPort {
		w.answerStream(in, f.from)
		return
	}
	out := w.held.take(f)
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
	_ = in.SetReadBuffer(relay.Buffer)
	_ = in.SetWriteBuffer(relay.Buffer)
	relay.Join(in, out)
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
