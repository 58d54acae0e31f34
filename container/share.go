package container

import (
	"context"
	"fmt"
	"path/filepath"
)

// Share is another container's network: both have the same loopback, addresses,
// ports, names of others and way out, and see each other's abstract Unix sockets. It
// is the network that other has when a life begins; other must not have ended then,
// or New and Start are ctor.ErrInvalid. When other ends its network stays, without
// the links and the way out, until this container ends too.
//
// It can't be used with Detach or Keep. A nil other is ctor.ErrInvalid.
func Share(other *Container) Network {
	switch {
	case other == nil:
	case other.network.host():
		return Host()
	case other.network.share != nil:
		other = other.network.share
	}
	return Network{whole: []string{sharedByAnother}, share: other}
}

const sharedByAnother = "another container's network"

// sharedNetwork is where, among a container's files, the runtime finds the
// namespace that it shares. It is there only while a process is created.
func sharedNetwork(dir string) string { return filepath.Join(dir, "network") }

// offer has the runtime find the network that the container shares, until done is
// called.
func (c *Container) offer(ctx context.Context) (done func() error, err error) {
	other := c.network.share
	if other == nil {
		return func() error { return nil }, nil
	}
	done, err = other.door.Offer(ctx, sharedNetwork(c.e.Dir(c.ID())))
	if err != nil {
		return nil, fmt.Errorf("network of container %q: %w", other.Name(), other.whyNot(ctx, err))
	}
	return done, nil
}
