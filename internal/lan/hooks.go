package lan

import "context"

// Join is what a container's configuration says of a network.
type Join struct {
	Network *Network
	Aliases []string
}

// Package network stands above package container, whose names for this no program
// needs: package container sets them.
var (
	// Joined gives the container.Network of a Join.
	Joined func(Join) any

	// Connect takes a *container.Container into a network, and Disconnect out of it.
	Connect    func(ctx context.Context, container any, j Join) error
	Disconnect func(ctx context.Context, container any, n *Network) error
)
