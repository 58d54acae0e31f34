// Package reach is the door to what a container is made of: its files, and the
// sockets in its network. All that needs privilege over the container, or must
// happen in its namespaces, is behind one interface, so that the packages above
// work the same way when another process does it for them: a program without
// root has no right to it, and asks one that runs in the container's user
// namespace.
//
// [Here] is the door of a program that has the right: it reaches everything
// from this process.
package reach

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"

	"github.com/containerd/containerd/v2/core/mount"

	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/wayout"
)

// Doors open what an engine has: the files of snapshots, and containers.
type Doors interface {
	// Snapshot opens the root of a snapshot that has the given mounts, as
	// [rootfs.Open] does. at is a directory to mount on.
	Snapshot(mounts []mount.Mount, at string) (*rootfs.Root, error)

	// Diff opens what is written in a snapshot that has the given mounts, also
	// while others write, and what was there before, as far as the mounts tell.
	Diff(mounts []mount.Mount, at string) (*rootfs.Diff, error)

	// Door gives the door to a container. Nothing is opened before it is used.
	Door(Container) Door

	// Hold names the first process of a container by a pidfd. It can't have ended, and
	// its number be another's: its runtime has just made it, and still holds it.
	Hold(pid int) (process *os.File, err error)

	// Out makes the way out of the network of a container with this first process,
	// which stays open as long as the way: dial makes its connections, but for those
	// to its neighbours, and forwards tells what may be looked up for it. It ends when
	// it is closed, and with this program.
	Out(process *os.File, dial wayout.Dialer, forwards wayout.Forwards, neighbours Neighbours) (Way, error)

	// Names answers the names that such a container looks up, and makes none of its
	// connections: those go where its routes lead.
	Names(process *os.File, neighbours Neighbours) (Way, error)

	// Porter has a process of its own make the way out, for a container that
	// outlives this program: by a policy, as egress.Marshal gives it. It ends with
	// the container's first process. dir is the process's working directory.
	Porter(process *os.File, container string, policy []byte, dir string) error

	// Router makes a network for containers, of which it has an address in each
	// subnet itself.
	Router(own []netip.Prefix) (Router, error)

	// Close ends every use of files, also what goes on.
	Close() error
}

// A Way is a container's way out, while it is open.
type Way interface {
	// Own keeps what goes to an address that the container has in a network from
	// the way, and Disown ends that.
	Own(at netip.Addr) error
	Disown(at netip.Addr) error

	io.Closer
}

// A Door leads to one container. Addresses and errors are those that
// [Container.Dial] in the public package describes, without its *net.OpError
// around some of them. ESRCH is the error of a container that has ended, and
// ErrClosed that of a door that is closed.
//
// [Container.Dial]: https://pkg.go.dev/github.com/ctorhq/ctor/container#Container.Dial
type Door interface {
	// Visit begins a use of the container's files: as its first process sees
	// them, or, once that has ended, as they stay.
	Visit(ctx context.Context) (Visit, error)

	// Dial connects to an address in the container's network. The connection
	// is the caller's, and outlives the door.
	Dial(ctx context.Context, network, address string) (net.Conn, error)

	// Listen announces on an address in the container's network. The listener
	// is closed when the container or the engine ends, or the door is closed.
	Listen(ctx context.Context, network, address string) (net.Listener, error)

	// ListenPacket is Listen for datagrams.
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)

	// Offer has a runtime on this host find the container's network at a path, until
	// done is called.
	Offer(ctx context.Context, at string) (done func() error, err error)

	// Renew is called before the container is started again: it ends listeners
	// and the use of files, also what goes on, and the door leads to the next
	// life from then on.
	Renew() error

	// Within gives a context that ends also when the door is closed, or renewed.
	Within(ctx context.Context) (_ context.Context, end func(), err error)

	// Still does something while no one uses the container's files: the use that goes on
	// ends, and one that begins waits. The ctx of do ends also when the door is closed.
	// The container has no process.
	Still(ctx context.Context, do func(ctx context.Context) error) error

	// Close ends listeners and the use of files, also what goes on, and for
	// every other Door to the same container the use of files. It may be called
	// again, for files that another Door has opened meanwhile.
	Close() error
}

// A Container is what a door must know of the container that it leads to.
type Container interface {
	// ID tells it from every other container, also from later ones.
	ID() string

	// Pid is that of the first process, on this host; ESRCH where there is none.
	Pid(ctx context.Context) (int, error)

	// Running asks the runtime whether the first process has ended: ESRCH.
	Running(ctx context.Context) error

	// Ended is closed when the first process has ended; never, if ctx ends before.
	Ended(ctx context.Context) <-chan struct{}

	// Cgroup is the container's, in every hierarchy; "" where it is not known.
	Cgroup() string

	// Layer gives the mounts of the writable layer.
	Layer(ctx context.Context) ([]mount.Mount, error)

	// Dir is the directory with the engine's own files of the container.
	Dir() string
}
