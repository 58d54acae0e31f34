// Package egress says what a container may reach outside, as Go values.
//
// A container has no way out unless its program gives it one. A way out is a
// function that makes the container's connections:
//
//	c, err := img.Run(ctx, container.Config{
//		Network: container.Out(egress.Mux{
//			"api.github.com:443": egress.Secret(egress.Public, "api.github.com", "GITHUB_TOKEN", token),
//			"*.debian.org":       egress.Public,
//			"billing.test":       egress.Handler(fakeBilling),
//		}.Dial),
//	})
//
// [Public] reaches the internet and nothing that is near: not the host, not its
// neighbours, not a cloud's metadata service. [Allow] does so for the hosts that
// it names, [Deny] for all but those. [Mux] chooses another way for each host.
// [Handler] answers by itself, [Secret] puts in what the container must not know,
// [Limit] bounds, [Watch] tells of each decision, and [Record] writes them down. Any function of
// the type [Dialer] is a way out too, such as another container's Dial.
//
// Decisions are made on the name that the container looked up. The name is
// resolved when the connection is made, and the address that connect(2) gets is
// checked again: a name that changes its address meanwhile gains nothing.
//
// The package does not know containers. It works as well for an http.Transport,
// whose DialContext is such a function.
package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// A Dialer makes the connections that a container opens to the outside. network
// is "tcp" or "udp"; address is "host:port", where host is the name that the
// container looked up, or an IP address that it came by otherwise.
//
// An error refuses the connection: the container sees "connection refused", or
// "connection reset" where the kernel can't hold its first packet back. ctx ends
// when the container does, or gives up; [SourceOf] tells which container asks.
// A Dialer is called from many goroutines at once. Its connections should have
// CloseWrite, as package net's have: one without is closed as a whole when the
// container ends what it sends.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// ErrRefused is the class of errors by which a policy of this package refuses a
// connection, for errors.Is.
var ErrRefused = errors.New("refused by the egress policy")

// refused says that address is not to be reached, and why.
func refused(network, address, why string) error {
	return &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s: %s: %w", address, why, ErrRefused)}
}

// Source is who asks for a connection.
type Source struct {
	// Container is the id of the container.
	Container string

	// Addr is the container's own end of the connection.
	Addr netip.AddrPort

	// CA is the authority that the container trusts, for dialers that answer
	// TLS in another host's place. nil where the container trusts none.
	CA *CA
}

type sourceKey struct{}

// WithSource gives a context that tells a [Dialer] who asks.
func WithSource(ctx context.Context, s Source) context.Context {
	return context.WithValue(ctx, sourceKey{}, s)
}

// SourceOf gives who asks for the connection that a [Dialer] is called for. It
// is the zero Source where the caller did not say.
func SourceOf(ctx context.Context) Source {
	s, _ := ctx.Value(sourceKey{}).(Source)
	return s
}
