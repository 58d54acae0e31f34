package reach

import (
	"context"
	"fmt"
	"os"

	"github.com/ctorhq/ctor/internal/netns"
	"github.com/ctorhq/ctor/internal/unwind"
)

// Offer implements Door.
func (d *door) Offer(ctx context.Context, at string) (done func() error, err error) {
	process, err := d.first(ctx)
	if err != nil {
		return nil, err
	}
	var namespace *os.File
	err = netns.Within(process, func() error {
		namespace, err = netns.Here()
		return err
	})
	if err != nil {
		return nil, err
	}
	var undo unwind.Stack
	defer undo.OnError(&err)
	undo.Close(namespace)
	// By a descriptor and not by the process's number, which might be another's.
	if err := os.Symlink(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), namespace.Fd()), at); err != nil {
		return nil, err
	}
	undo.Push(func() error { return os.Remove(at) })
	return undo.Run, nil
}
