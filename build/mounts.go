package build

import (
	"context"
	"fmt"
	"path"
	"reflect"
	"slices"
	"sync"

	"github.com/moby/buildkit/executor"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/unwind"
)

// source says what to mount of the host for one of a command's mounts. Until undo
// it is there.
func (x *commands) source(ctx context.Context, m executor.Mount, undo *unwind.Stack) (specs.Mount, error) {
	ref, err := m.Src.Mount(ctx, m.Readonly)
	if err != nil {
		return specs.Mount{}, err
	}
	to := specs.Mount{Destination: path.Join("/", m.Dest)}
	s := snapshotOf(ref)
	if s == nil {
		return to, other(ref, &to, undo)
	}
	from, _, _ := s.Mount() // it keeps nothing
	if len(from) != 1 {
		return to, fmt.Errorf("a snapshot of %d mounts, not one", len(from))
	}
	if m.Readonly {
		from[0] = rootfs.ReadOnly(from[0])
	}
	// An upper directory must not be in two mounts at once, and where a container
	// could change the way to what is mounted while it is looked for, no other
	// may run.
	alone := from[0].Type == "overlay" && !m.Readonly
	inside := path.Join("/", m.Selector)
	if !m.Readonly || inside != "/" {
		end, err := x.turns.take(ctx, rootfs.Place(from[0]), alone || inside != "/")
		if err != nil {
			return to, err
		}
		undo.Push(func() error { end(); return nil })
	}
	if inside != "/" {
		if from[0], err = rootfs.Sub(from[0], x.dir, inside); err != nil {
			return to, err
		}
	}
	to.Type, to.Source, to.Options = from[0].Type, from[0].Source, from[0].Options
	if to.Type == "bind" {
		to.Options = bound(to.Options)
	}
	return to, nil
}

// bound makes the options of a bind mount complete.
func bound(options []string) []string {
	options = slices.DeleteFunc(slices.Clone(options), func(o string) bool { return o == "bind" || o == "rbind" || o == "rw" })
	return append(options, "rbind", "rprivate")
}

// other mounts what is no snapshot: memory.
func other(ref executor.MountableRef, to *specs.Mount, undo *unwind.Stack) error {
	from, release, err := ref.Mount()
	if err != nil {
		return err
	}
	if release != nil {
		undo.Push(release)
	}
	if len(from) != 1 || from[0].Type != "tmpfs" {
		return fmt.Errorf("BuildKit mounts %v, which is unknown here", from)
	}
	to.Type, to.Source, to.Options = from[0].Type, from[0].Source, from[0].Options
	return nil
}

// snapshotOf finds the snapshot below what BuildKit has wrapped around it; nil is
// none. Its wrappers mount an overlay somewhere in the host and give a bind mount
// of that, which the shim, in a mount namespace of its own, can't see everywhere.
func snapshotOf(ref executor.MountableRef) *mountable {
	for {
		if m, ok := ref.(*mountable); ok {
			return m
		}
		v := reflect.Indirect(reflect.ValueOf(ref))
		if v.Kind() != reflect.Struct {
			return nil
		}
		below := v.FieldByName("Mountable") // embedded: exported, whatever its struct is
		if !below.IsValid() || !below.CanInterface() {
			return nil
		}
		next, ok := below.Interface().(executor.MountableRef)
		if !ok {
			return nil
		}
		ref = next
	}
}

// turns are of those who use directories: many together, or one alone.
type turns struct {
	mu  sync.Mutex
	all map[string]*turn
}

type turn struct {
	users int // -1: one alone
	ended chan struct{}
}

// take waits for a turn at a directory, until end.
func (t *turns) take(ctx context.Context, dir string, alone bool) (end func(), err error) {
	for {
		t.mu.Lock()
		now := t.all[dir]
		if now == nil || !alone && now.users > 0 {
			if now == nil {
				now = &turn{ended: make(chan struct{})}
				t.all[dir] = now
			}
			if alone {
				now.users = -1
			} else {
				now.users++
			}
			t.mu.Unlock()
			return sync.OnceFunc(func() { t.end(dir, now) }), nil
		}
		t.mu.Unlock()
		select {
		case <-now.ended:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (t *turns) end(dir string, now *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now.users = max(now.users, 1) - 1
	if now.users == 0 {
		delete(t.all, dir)
		close(now.ended)
	}
}
