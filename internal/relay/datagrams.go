package relay

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Largest is the longest datagram that there is.
const Largest = large

// JoinDatagrams passes datagrams on both ways, until none has come for as long
// as idle, or one end is closed. Then both are.
func JoinDatagrams(a, b net.Conn, idle time.Duration) {
	e := exchange{idle: idle}
	e.touch()
	var other sync.WaitGroup
	other.Go(func() { e.pass(a, b) })
	e.pass(b, a)
	other.Wait()
}

// exchange is a flow of datagrams, in both directions.
type exchange struct {
	idle time.Duration
	last atomic.Int64 // when one came, since epoch
}

func (e *exchange) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	e.receive(from, func(b []byte) { _, _ = to.Write(b) }) // a datagram may be lost
}

// receive gives each datagram that comes to do, until from is closed or nothing
// has come in either direction for as long as idle.
func (e *exchange) receive(from net.Conn, do func([]byte)) {
	waiting := packets(from)
	for {
		_ = from.SetReadDeadline(time.Now().Add(e.idle))
		err := e.one(from, waiting, do)
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Since(epoch)-time.Duration(e.last.Load()) < e.idle {
			continue // the other direction is in use
		}
		if err != nil {
			return
		}
	}
}

// one waits for a datagram, and only then takes a buffer, where it can be known.
func (e *exchange) one(from net.Conn, waiting syscall.RawConn, do func([]byte)) error {
	if waiting != nil {
		if err := waiting.Read(readable); err != nil {
			return err
		}
	}
	chunk := chunks.Get().(*[large]byte)
	defer chunks.Put(chunk)
	n, err := from.Read(chunk[:])
	if err != nil {
		return err
	}
	e.touch()
	do(chunk[:n])
	return nil
}

// touch notes that a datagram has come.
func (e *exchange) touch() { e.last.Store(int64(time.Since(epoch))) }

// epoch is what times are counted from, by a clock that can't be set.
var epoch = time.Now()

// packets gives the socket that the datagrams of a connection come by: its own,
// or that of the one which it wraps. It is nil where there is none.
func packets(c net.Conn) syscall.RawConn {
	for {
		switch inner := c.(type) {
		case *net.UDPConn:
			raw, err := inner.SyscallConn()
			if err != nil {
				return nil
			}
			return raw
		case interface{ NetConn() net.Conn }:
			c = inner.NetConn()
		default:
			return nil
		}
	}
}

// readable tells whether a read would not wait.
func readable(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := again(func() (int, error) { return unix.Poll(fds, 0) })
	return err != nil || n > 0
}
