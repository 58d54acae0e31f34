package reach

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/ctorhq/ctor/internal/netns"
)

// Dial implements Door.
func (d *door) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	connect := d.connectIP
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
	case "unix", "unixgram", "unixpacket":
		connect = d.connectUnix
	default:
		return nil, net.UnknownNetworkError(network)
	}
	process, err := d.first(ctx)
	if err != nil {
		return nil, err
	}
	return connect(ctx, process, network, address)
}

func (d *door) connectIP(ctx context.Context, process *os.File, network, address string) (net.Conn, error) {
	e, err := parseEndpoint(ctx, network, address)
	if err != nil {
		return nil, err
	}
	addresses, err := d.resolve(ctx, process, e)
	if err != nil {
		return nil, err
	}
	var first error // as package net tells of it
	for _, a := range addresses {
		conn, err := netns.Dial(ctx, process, network, a)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// connectUnix connects to the socket itself, not to its path, which might lead
// elsewhere by then.
func (d *door) connectUnix(ctx context.Context, process *os.File, network, address string) (net.Conn, error) {
	if address == "" || address[0] == '@' {
		return netns.Dial(ctx, process, network, address)
	}
	root, err := d.root(ctx, process)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	socket, err := root.Find(address)
	if err != nil {
		return nil, errnoOf(err)
	}
	defer socket.Close()
	if st, err := socket.Stat(); err != nil {
		return nil, err
	} else if st.Mode().Type() != fs.ModeSocket {
		return nil, os.NewSyscallError("connect", syscall.ENOTSOCK)
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, fmt.Sprintf("/proc/self/fd/%d", socket.Fd()))
}

// errnoOf takes from an error the path, which the net.OpError has as well.
func errnoOf(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return os.NewSyscallError(pe.Op, pe.Err)
	}
	return err
}
