package native

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/shim/native/forker"
)

// beginning is what a container has before its configuration matters: cgroups, a process
// in new namespaces, and a root file system. They take the kernel about as long as all
// the rest, and so are made meanwhile.
type beginning struct {
	group  *cgroup.Fresh
	placed func() error                  // waits for version 1's cgroups
	forked func() (*forker.Child, error) // waits for the process
	born   func() (*forker.Child, error) // waits until it is told to join them
	rooted func() (int, error)           // waits for the root
}

// begin begins a container in the cgroup at path. The order's Cgroup is that, and own
// tells whether it is the root of a cgroup namespace.
func (e *Executor) begin(ctx context.Context, path string, o forker.Order, own bool, root func() (int, error)) (*beginning, error) {
	group, err := cgroup.Begin(path)
	if err != nil {
		err = errors.Join(err, group.Undo())
		group.Close()
		return nil, err
	}
	o.Cgroup = group.Two
	forked := meanwhile(func() (*forker.Child, error) { return e.pool.Fork(ctx, o) })
	placed := meanwhile(func() (none struct{}, err error) { return none, group.Complete() })
	born := meanwhile(func() (*forker.Child, error) {
		_, err := placed()
		child, ferr := forked()
		if err = errors.Join(err, ferr); err != nil {
			return nil, err
		}
		return child, join(child, group.Doors, own)
	})
	return &beginning{
		group: group, forked: forked, born: born, rooted: meanwhile(root),
		placed: func() error { _, err := placed(); return err },
	}, nil
}

// join has a new process join its cgroups, before it is told the rest.
func join(child *forker.Child, doors cgroup.Doors, own bool) error {
	var s forker.Script
	s.DeathSignal()
	s.Session()
	s.JoinCgroups(doors.Lists)
	if own {
		s.Unshare(unix.CLONE_NEWCGROUP)
	}
	s.More()
	return child.Carry(&s)
}

// undo takes all of it back.
func (b *beginning) undo() error {
	_, _ = b.born()
	var errs []error
	if root, err := b.rooted(); err == nil {
		errs = append(errs, unix.Close(root))
	}
	if child, err := b.forked(); err == nil {
		errs = append(errs, abort(child, b.group.At()))
	}
	return errors.Join(append(errs, b.group.Undo())...)
}

// close lets go of the descriptors that are needed only while the container is made.
func (b *beginning) close() {
	_, _ = b.born()
	b.group.Close()
}

// meanwhile does something beside the caller, who waits for it by the returned function,
// as often as it likes.
func meanwhile[T any](do func() (T, error)) (await func() (T, error)) {
	var got T
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		got, err = do()
	}()
	return func() (T, error) {
		<-done
		return got, err
	}
}
