package build

import (
	"context"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/moby/buildkit/executor"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/unwind"
)

// sources says what to mount of the host for a command's mounts, in their order.
// Until undo it is there.
func (x *commands) sources(ctx context.Context, mounts []executor.Mount, undo *unwind.Stack) ([]specs.Mount, error) {
	list := make([]specs.Mount, len(mounts))
	from := make([]*mount.Mount, len(mounts))
	needs := map[string]bool{} // directories, and whether they are needed alone
	for n, m := range mounts {
		list[n].Destination = path.Join("/", m.Dest)
		var err error
		if from[n], err = x.source(ctx, m, &list[n], undo); err != nil {
			return nil, fmt.Errorf("mount on %s: %w", m.Dest, err)
		}
		if from[n] == nil {
			continue
		}
		// An upper directory must not be in two mounts at once, and where a container
		// could change the way to what is mounted while it is looked for, no other
		// may run.
		overlay, part := from[n].Type == "overlay", inside(m) != "/"
		if !m.Readonly {
			at := rootfs.Place(*from[n])
			needs[at] = needs[at] || overlay || part
		}
	}
	// All in one order, so that no two commands wait for each other.
	for _, at := range slices.Sorted(maps.Keys(needs)) {
		end, err := x.turns.take(ctx, at, needs[at])
		if err != nil {
			return nil, err
		}
		undo.Push(func() error { end(); return nil })
	}
	for n, m := range mounts {
		if from[n] == nil {
			continue
		}
		f := *from[n]
		if at := inside(m); at != "/" {
			var err error
			if f, err = rootfs.Sub(f, x.dir, at); err != nil {
				return nil, fmt.Errorf("mount on %s: %w", m.Dest, err)
			}
		}
		list[n].Type, list[n].Source, list[n].Options = f.Type, f.Source, f.Options
		if f.Type == "bind" {
			list[n].Options = bound(f.Options)
		}
	}
	return list, nil
}

// inside is where in the source what is mounted lies.
func inside(m executor.Mount) string { return path.Join("/", m.Selector) }

// source gives the snapshot that is mounted. Of what is none it gives nil, and puts
// what to mount into to.
func (x *commands) source(ctx context.Context, m executor.Mount, to *specs.Mount, undo *unwind.Stack) (*mount.Mount, error) {
	ref, err := m.Src.Mount(ctx, m.Readonly)
	if err != nil {
		return nil, err
	}
	s := snapshotOf(ref)
	if s == nil {
		return nil, other(ref, to, undo)
	}
	from, _, _ := s.Mount() // it keeps nothing
	if len(from) != 1 {
		return nil, fmt.Errorf("a snapshot of %d mounts, not one", len(from))
	}
	if m.Readonly {
		from[0] = rootfs.ReadOnly(from[0])
	}
	return &from[0], nil
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
