package native

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/native/forker"
	"github.com/ctorhq/ctor/internal/shim/task"
)

var _ task.Expecter = (*Executor)(nil)

// usualSpaces are the namespaces that a process is born in, of a container that shares
// none.
const usualSpaces = unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// expected is what Expect has begun.
type expected struct {
	*beginning
	root mount.Mount
}

// Expect implements task.Expecter. A root that is no plain overlay is Create's to open.
func (e *Executor) Expect(group string, root []mount.Mount) error {
	if e.pool == nil {
		return e.why
	}
	if len(root) != 1 || root[0].Type != "overlay" {
		return fmt.Errorf("a root file system that is no overlay: %w", errdefs.ErrNotImplemented)
	}
	if group == "" { // what is expected goes by it
		return fmt.Errorf("a container without a cgroup: %w", errdefs.ErrNotImplemented)
	}
	group = filepath.Clean(group)
	b, err := e.begin(context.Background(), group, forker.Order{Namespaces: usualSpaces, Pids: -1}, true, func() (int, error) {
		return e.openSettled(root[0], nil)
	})
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.expected == nil {
		e.expected = map[string]*expected{}
	}
	e.expected[group] = &expected{b, root[0]}
	return nil
}

// Forget implements task.Expecter.
func (e *Executor) Forget(group string) error {
	if x := e.take(filepath.Clean(group)); x != nil {
		return x.end()
	}
	return nil
}

// end takes all of it back.
func (x *expected) end() error {
	x.close()
	return x.undo()
}

// take gives what Expect has begun in a cgroup, once; nil is that there is nothing.
func (e *Executor) take(group string) *expected {
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.expected[group]
	delete(e.expected, group)
	return x
}

// goOn is begin, from where Expect has got to, if that is what is wanted. An overlay that
// this kernel can't make so is no error of the expected one: another way may be open.
func (e *Executor) goOn(ctx context.Context, path string, o forker.Order, own bool, mounts []mount.Mount, root func() (int, error)) (*beginning, error) {
	if x := e.take(path); x != nil {
		if _, err := x.rooted(); err == nil && o.Namespaces == usualSpaces && o.Pids < 0 && own && reflect.DeepEqual(mounts, []mount.Mount{x.root}) {
			return x.beginning, nil
		}
		if err := x.end(); err != nil {
			return nil, err
		}
	}
	return e.begin(ctx, path, o, own, root)
}
