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
	born   func() (*forker.Child, error) // waits for the process
	rooted func() (int, error)           // waits for the root
}

// begin begins a container in the cgroup at path. The order's Cgroup is that.
func (e *Executor) begin(ctx context.Context, path string, o forker.Order, root func() (int, error)) (*beginning, error) {
	group, err := cgroup.Begin(path)
	if err != nil {
		err = errors.Join(err, group.Undo())
		group.Close()
		return nil, err
	}
	o.Cgroup = group.Two
	born := meanwhile(func() (*forker.Child, error) { return e.pool.Fork(ctx, o) })
	placed := meanwhile(func() (none struct{}, err error) { return none, group.Complete() })
	return &beginning{
		group: group, born: born, rooted: meanwhile(root),
		placed: func() error { _, err := placed(); return err },
	}, nil
}

// undo takes all of it back.
func (b *beginning) undo() error {
	_ = b.placed()
	var errs []error
	if root, err := b.rooted(); err == nil {
		errs = append(errs, unix.Close(root))
	}
	if child, err := b.born(); err == nil {
		errs = append(errs, abort(child, b.group.At()))
	}
	return errors.Join(append(errs, b.group.Undo())...)
}

// close lets go of the descriptors that are needed only while the container is made.
func (b *beginning) close() {
	_ = b.placed()
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
