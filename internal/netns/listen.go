package netns

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
)

// Listen announces as [net.Listen] does, in the namespace of process. An
// address is literal.
func Listen(process *os.File, network, address string) (l net.Listener, err error) {
	probe()
	err = within(to(process), func(ctl control) (err error) {
		lc := net.ListenConfig{Control: ctl}
		lc.SetMultipathTCP(false) // a second socket, where the first fails
		l, err = lc.Listen(context.Background(), network, address)
		return err
	})
	return l, err
}

// ListenPacket announces as [net.ListenPacket] does, in the namespace of
// process. An address is literal.
func ListenPacket(process *os.File, network, address string) (c net.PacketConn, err error) {
	probe()
	err = within(to(process), func(ctl control) (err error) {
		lc := net.ListenConfig{Control: ctl}
		c, err = lc.ListenPacket(context.Background(), network, address)
		return err
	})
	return c, err
}

// probe makes package net learn what it learns only once, with its first
// listener: whether there is IPv6, and the longest queue of a listener. It must
// learn that in the program's own namespace.
var probe = sync.OnceFunc(func() {
	lc := net.ListenConfig{Control: func(string, string, syscall.RawConn) error { return errProbe }}
	_, _ = lc.Listen(context.Background(), "tcp", ":0")
})

var errProbe = errors.New("it is known by now")
