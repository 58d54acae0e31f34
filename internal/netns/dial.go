package netns

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
)

// Dial connects as [net.Dialer.DialContext] does, from the namespace of
// process. The address is a literal one: nothing is looked up in there. It is
// not [::], which package net takes for two.
func Dial(ctx context.Context, process *os.File, network, address string) (net.Conn, error) {
	for range 3 { // as often as package net tries
		c, err := dial(ctx, process, network, address)
		if !errors.Is(err, errElsewhere) {
			return c, err
		}
	}
	err := os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)
	return nil, &net.OpError{Op: "dial", Net: network, Err: err}
}

func dial(ctx context.Context, process *os.File, network, address string) (c net.Conn, err error) {
	err = within(to(process), func(ctl control) (err error) {
		d := net.Dialer{ControlContext: func(_ context.Context, network, address string, raw syscall.RawConn) error {
			return ctl(network, address, raw)
		}}
		d.SetMultipathTCP(false) // a second socket, where the first fails
		c, err = d.DialContext(bare{ctx}, network, address)
		return err
	})
	return c, err
}

// bare is a context without values: package net looks for hooks among them
// (net/http/httptrace), and would call them in the namespace.
type bare struct{ context.Context }

func (bare) Value(any) any { return nil }
