// Package link is what the two ends of a shim agree on: names, descriptors,
// and how a connection that is there already is served.
package link

import (
	"net"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Name is what a shim process calls itself, and the file name of one that is
// installed.
const Name = "containerd-shim-ctor-v2"

// Role is that of a program that is executed again as its own shim (package
// reexec).
const Role = "shim"

// Runtime is the runtime's name in container records: containerd derives Name
// from it.
const Runtime = "io.containerd.ctor.v2"

// The kinds of shims. An attached one serves a connection and ends with the
// program; a detached one serves a socket and stays, and so does a stock
// containerd's, which tells that of its events.
const (
	Attached = "attached"
	Detached = "detached"
	Stock    = "stock"
)

// SpecType is the type of a create request's options that are the container's
// OCI runtime configuration, as JSON: the shim makes the bundle then, where
// nobody else sees it, and removes it with the container. An attached shim's
// working directory is the one that such bundles are in.
const SpecType = "io.ctor/spec"

// Parking is the name of the ttrpc service, beside the task API's, that makes containers
// whose command comes later: Park takes what Create does, and Give what Exec does, with
// a Command for its Spec.
const Parking = "io.ctor.shim.Parking"

// Expecting is the name of the ttrpc service by which a shim is told of a container
// before Create asks for it: Expect takes what Create does, of which it heeds the id, the
// root file system and the options, which are the path of the container's cgroup; Forget takes what Delete
// does. A shim that has no such service does without.
const Expecting = "io.ctor.shim.Expecting"

// Command is what a parked container is given.
type Command struct {
	Process *specs.Process
	Name    string // of the host; "": the one that it has
}

// RestartType is the type of a detached container's options that are the policy,
// a number of package restart, by which its shim starts it again. The journal that
// the shim keeps then is beside the log.
const RestartType = "io.ctor/restart"

// NamespaceEnv is the environment variable that tells a stock containerd's shim
// its containerd namespace: not every containerd's requests do.
const NamespaceEnv = "CTOR_SHIM_NAMESPACE"

// FiltersEnv is the environment variable that tells a shim the directory where
// it finds and leaves compiled seccomp filters. Empty is none.
const FiltersEnv = "CTOR_SHIM_FILTERS"

// What a shim inherits.
const (
	Tasks    = 3 // a connection if attached, else a listener: the task API
	Lifeline = 4 // not of stock's: a pipe that closes when the program ends
	Events   = 5 // attached only: a connection to the engine's events service
)

// Listener gives one connection, and then none until it is closed.
type Listener struct {
	conn   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Listen makes a listener of a connection.
func Listen(c net.Conn) *Listener {
	l := &Listener{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.conn <- c
	return l
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. The connection is its taker's.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }
