package container

import (
	"net"

	"github.com/ctorhq/ctor/internal/links"
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

// checkPorts finds what is wrong with the ports before anything is made.
func checkPorts(cfg Config) error {
	if len(cfg.Publish) > 0 && cfg.Detach {
		return invalid("published ports are served by this program, and a detached container outlives it")
	}
	for _, p := range cfg.Publish {
		if err := links.Port(p).Check(); err != nil {
			return err
		}
	}
	return nil
}

// Addr tells where on the host a published port of the container is: a
// *net.TCPAddr, or a *net.UDPAddr if it is published by UDP alone. Of one that is
// published more than once, it is the first. It is nil for a port that is not
// published by this program.
func (c *Container) Addr(port int) net.Addr { return c.links.Addr(port) }
