package native_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/shim/native"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// overlay is a writable layer over the driver's root file system.
func (d *driver) overlay() []mount.Mount {
	dir, err := os.MkdirTemp(d.dir, "layer-")
	require.NoError(d, err)
	for _, name := range []string{"fs", "work"} {
		require.NoError(d, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	return []mount.Mount{{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=" + d.rootfs, "upperdir=" + dir + "/fs", "workdir=" + dir + "/work"}}}
}

// groups are the directories that there are of a cgroup.
func groups(t testing.TB, path string) (all []string) {
	for _, pattern := range []string{"/sys/fs/cgroup/*" + path, "/sys/fs/cgroup" + path} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		all = append(all, found...)
	}
	return all
}

// Create goes on from what Expect has begun, if it is asked for that, and else begins
// anew. What is not wanted is gone.
func TestExpect(t *testing.T) {
	d := newDriver(t)
	e := d.exec.(*native.Executor)
	for name, test := range map[string]struct {
		edit    func(*specs.Spec)
		other   bool // layer
		goesOn  bool
		refused bool
	}{
		"as it is":              {goesOn: true},
		"in the host's network": {edit: func(s *specs.Spec) { withoutNamespace(s, specs.NetworkNamespace) }},
		"in the host's pids":    {edit: func(s *specs.Spec) { withoutNamespace(s, specs.PIDNamespace) }},
		"over another layer":    {other: true},
		"without its command":   {edit: func(s *specs.Spec) { s.Process.Args = []string{"nosuch"} }, goesOn: true, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			s, root := d.spec("sh", "-c", "echo one >/file; cat /file"), d.overlay()
			group := s.Linux.CgroupsPath
			require.NoError(t, e.Expect(group, root))
			waiting := native.Expected(e, group)
			require.NotZero(t, waiting)
			if test.edit != nil {
				test.edit(s)
			}
			if test.other {
				root = d.overlay()
			}
			r, w, err := os.Pipe()
			require.NoError(t, err)
			defer r.Close()
			c, p, err := e.Create(t.Context(), task.Bundle{ID: "x", Namespace: "test", Dir: d.dir, Mounts: root, Spec: s}, task.Stdio{Out: w, Err: w})
			w.Close()
			require.Zero(t, native.Expected(e, group))
			if test.refused {
				require.Error(t, err)
			} else {
				require.NoError(t, err)
				require.Equal(t, test.goesOn, p.Pid == waiting)
				require.NoError(t, c.Start(t.Context()))
				out, err := io.ReadAll(r)
				require.NoError(t, err)
				require.Equal(t, "one\n", string(out))
				reap(t, p.Pid)
				require.NoError(t, c.Delete(context.Background()))
			}
			require.Empty(t, groups(t, group))
			require.ErrorIs(t, unix.Kill(waiting, 0), unix.ESRCH)
		})
	}
}

func withoutNamespace(s *specs.Spec, kind specs.LinuxNamespaceType) {
	var kept []specs.LinuxNamespace
	for _, n := range s.Linux.Namespaces {
		if n.Type != kind {
			kept = append(kept, n)
		}
	}
	s.Linux.Namespaces = kept
	s.Linux.Sysctl = nil
}

// What was expected and does not come is taken back: when that is said, when another
// executor makes it, and when the service ends.
func TestExpectInVain(t *testing.T) {
	d := newDriver(t)
	e := native.New(handed{}, nil)
	t.Cleanup(e.Close)
	gone := func(group string, waiting int) {
		t.Helper()
		require.Empty(t, groups(t, group))
		require.ErrorIs(t, unix.Kill(waiting, 0), unix.ESRCH)
	}
	s := d.spec("true")
	group := s.Linux.CgroupsPath
	require.ErrorIs(t, e.Expect(group, nil), errdefs.ErrNotImplemented)
	require.NoError(t, e.Forget(group), "nothing is expected")

	require.NoError(t, e.Expect(group, d.overlay()))
	waiting := native.Expected(e, group)
	require.NoError(t, e.Forget(group))
	gone(group, waiting)

	require.NoError(t, e.Expect(group, d.overlay()))
	waiting = native.Expected(e, group)
	s.Hooks = &specs.Hooks{Poststart: []specs.Hook{{Path: "/bin/true"}}}
	_, _, err := e.Create(t.Context(), task.Bundle{ID: "x", Dir: d.dir, Mounts: d.overlay(), Spec: s}, task.Stdio{})
	require.ErrorIs(t, err, errHanded)
	gone(group, waiting)

	digits := make([]byte, 6)
	_, err = rand.Read(digits)
	require.NoError(t, err)
	parent := "/ctor-" + hex.EncodeToString(digits) // as an engine's
	t.Cleanup(func() { require.NoError(t, cgroup.Remove(parent)) })
	svc := task.New(e, silent{}, nil)
	ctx := namespaces.WithNamespace(t.Context(), "test")
	expect := func(id, group string) error {
		var root []*types.Mount
		for _, m := range d.overlay() {
			root = append(root, &types.Mount{Type: m.Type, Source: m.Source, Options: m.Options})
		}
		_, err := svc.Expect(ctx, &taskapi.CreateTaskRequest{ID: id, Rootfs: root, Options: &anypb.Any{Value: []byte(group)}})
		return errgrpc.ToNative(err)
	}
	require.ErrorIs(t, expect("a", group), errdefs.ErrInvalidArgument, "it is no engine's")
	require.ErrorIs(t, expect("a", parent+"/../x"), errdefs.ErrInvalidArgument)
	require.NoError(t, expect("a", parent+"/a"))
	require.ErrorIs(t, expect("a", parent+"/a"), errdefs.ErrFailedPrecondition)
	waiting = native.Expected(e, parent+"/a")
	require.NotZero(t, waiting)
	_, err = svc.Forget(ctx, &taskapi.DeleteRequest{ID: "a"})
	require.NoError(t, err)
	gone(parent+"/a", waiting)

	// A create that comes to nothing, before the executor hears of it.
	require.NoError(t, expect("a", parent+"/a"))
	waiting = native.Expected(e, parent+"/a")
	_, err = svc.Create(ctx, &taskapi.CreateTaskRequest{ID: "a", Bundle: d.dir + "/nosuch"})
	require.Error(t, err)
	gone(parent+"/a", waiting)

	require.NoError(t, expect("b", parent+"/b"))
	waiting = native.Expected(e, parent+"/b")
	require.NoError(t, svc.Undo(context.Background()))
	gone(parent+"/b", waiting)
	require.Empty(t, groups(t, parent))
	require.ErrorIs(t, expect("c", parent+"/c"), errdefs.ErrFailedPrecondition, "the service has ended")
}

// silent is told what happens.
type silent struct{}

func (silent) Publish(context.Context, string, any) error { return nil }
