package main

import (
	"context"
	"fmt"
	"os/exec"
	"time"
)

// peer is one way to run a container.
type peer interface {
	name() string
	// start readies what a life needs: daemons, images, directories. It gives
	// a *missing where the host lacks the peer.
	start(ctx context.Context, b *bench) error
	// life is the whole life of a container that runs true.
	life(ctx context.Context) error
}

// execer is a peer that can run a command in a running container.
type execer interface {
	peer
	// box starts the container that exec runs in; end removes it.
	box(ctx context.Context) (end func() error, err error)
	exec(ctx context.Context) error
}

// idler is a peer that keeps a process for each container, or for all.
type idler interface {
	peer
	// idle starts the container of that number, which sleeps, and gives what
	// removes it.
	idle(ctx context.Context, n int) (end func() error, err error)
	// helpers are the processes, beside the containers' own, that are there
	// because containers are; daemon is the one that would be there anyway.
	helpers() []int
	daemon() int
}

// phased is a peer whose life is timed in parts.
type phased interface {
	peer
	phases() map[string][]time.Duration
}

// allPeers are in the order of the tables.
func allPeers() []peer {
	return []peer{
		&ctorPeer{},
		&ctorPeer{installed: true},
		&ctorPeer{detach: true},
		&ctorPeer{installed: true, detach: true},
		&bwrap{},
		&runc{},
		&ctr{},
		&clientPeer{},
		&docker{},
		&testcontainersPeer{},
	}
}

// missing says what the host lacks, and what would mend it.
type missing struct{ what, mend string }

func (m *missing) Error() string { return fmt.Sprintf("no %s: %s", m.what, m.mend) }

// need finds a command, or says which package has it.
func need(command, pkg string) (string, error) {
	path, err := exec.LookPath(command)
	if err != nil {
		return "", &missing{command, "apt-get install " + pkg}
	}
	return path, nil
}
