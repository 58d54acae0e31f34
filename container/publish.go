package container

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/ctorhq/ctor/internal/relay"
)

// Port makes a port of a container one of the host's: this program listens on
// the host, and joins each connection with one inside the container, as Dial
// makes it. What runs in the container sees its own loopback as the other end. At
// most 4096 connections, or 1024 senders of datagrams, are served at a time, fewer
// where that would be more than a quarter of the descriptors that this program may
// open; one more connection is reset, and one more sender's datagrams are lost.
//
// Each byte passes through this program: where it and both ends share two processors,
// that leaves some half of loopback's rate, or a little more. In a network with
// Config.Masquerade the host reaches the container's own address without the program in
// between, and no port is needed.
type Port struct {
	// Host is where the program listens: "127.0.0.1:8080", "[::1]:8080", ":8080"
	// for all addresses of the host, IPv4 and IPv6; port 0 is one that is free,
	// which Addr tells. "" is "127.0.0.1:0".
	Host string

	// Container is the port in the container, on its loopback.
	Container int

	// Protocol is "tcp" or "udp"; "" is "tcp".
	Protocol string
}

// check finds what is wrong with the ports before anything is made.
func checkPorts(cfg Config) error {
	if len(cfg.Publish) > 0 && cfg.Detach {
		return invalid("published ports are served by this program, and a detached container outlives it")
	}
	for _, p := range cfg.Publish {
		if p.Container < 1 || p.Container > 65535 {
			return invalid("published port %d: it must be from 1 to 65535", p.Container)
		}
		if p.Protocol != "" && p.Protocol != "tcp" && p.Protocol != "udp" {
			return invalid("published port %d: protocol %q: it must be tcp or udp", p.Container, p.Protocol)
		}
		if _, _, err := net.SplitHostPort(p.host()); err != nil {
			return invalid("published port %d: host address %q: %v", p.Container, p.Host, err)
		}
	}
	return nil
}

func (p Port) host() string {
	if p.Host == "" {
		return "127.0.0.1:0"
	}
	return p.Host
}

func (p Port) protocol() string {
	if p.Protocol == "" {
		return "tcp"
	}
	return p.Protocol
}

// published is a port that is served.
type published struct {
	Port
	server *relay.Server
}

// publish listens on the host. It lasts for all lives of the container: between
// them a connection is reset.
func (c *Container) publish(ctx context.Context, ports []Port) error {
	for _, p := range ports {
		s, err := c.serve(ctx, p)
		if err != nil {
			return fmt.Errorf("publish port %d: %w", p.Container, err)
		}
		c.ports = append(c.ports, published{p, s})
	}
	return nil
}

func (c *Container) serve(ctx context.Context, p Port) (*relay.Server, error) {
	inside := net.JoinHostPort("localhost", strconv.Itoa(p.Container))
	dial := func(ctx context.Context) (net.Conn, error) { return c.Dial(ctx, p.protocol(), inside) }
	var lc net.ListenConfig
	if p.protocol() == "udp" {
		at, err := lc.ListenPacket(ctx, "udp", p.host())
		if err != nil {
			return nil, err
		}
		return relay.ServeDatagrams(at, dial), nil
	}
	at, err := lc.Listen(ctx, "tcp", p.host())
	if err != nil {
		return nil, err
	}
	return relay.Serve(at, dial), nil
}

// unpublish ends what publish began.
func (c *Container) unpublish() {
	for _, p := range c.ports {
		_ = p.server.Close() // of a listener
	}
}

// Addr tells where on the host a published port of the container is: a
// *net.TCPAddr, or a *net.UDPAddr if it is published by UDP alone. Of one that is
// published more than once, it is the first. It is nil for a port that is not
// published by this program.
func (c *Container) Addr(port int) net.Addr {
	var found net.Addr
	for _, p := range c.ports {
		if p.Container == port && (found == nil || found.Network() == "udp" && p.protocol() == "tcp") {
			found = p.server.Addr()
		}
	}
	return found
}
