package whole

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/internal/record"
)

// leave makes what a program leaves that was killed between two steps of
// making, or deleting, a container.
func leave(t *testing.T, e *ctor.Engine, owner string) {
	ctx := e.Context(t.Context())
	c := e.Containerd()
	spec, err := typeurl.MarshalAny(&specs.Spec{})
	require.NoError(t, err)
	r := containers.Container{
		ID: "no-snapshot", Snapshotter: e.Snapshotter(), SnapshotKey: "no-snapshot",
		Runtime: containers.RuntimeInfo{Name: "io.containerd.ctor.v2"}, Spec: spec,
	}
	require.NoError(t, record.Record{Name: "unowned", Owner: owner}.Put(&r))
	_, err = c.ContainerService().Create(ctx, r)
	require.NoError(t, err)
	_, err = c.SnapshotService(e.Snapshotter()).Prepare(ctx, "no-record", "", snapshots.WithLabels(map[string]string{
		engine.OwnerLabel: owner, "containerd.io/gc.root": "now",
	}))
	require.NoError(t, err)
	_, err = c.LeasesService().Create(ctx, leases.WithID("a-call"), leases.WithLabel("io.ctor.call", owner))
	require.NoError(t, err)
	for name, id := range map[string]string{"unowned": "no-snapshot", "unmade": "nothing"} {
		_, err = c.LeasesService().Create(ctx, leases.WithID("ctor.name."+name), leases.WithLabels(map[string]string{
			"io.ctor.name": id, engine.OwnerLabel: owner,
		}))
		require.NoError(t, err)
	}
}

const deadOwner = "00000000-0000-0000-0000-000000000000/1/1/1"

func TestSweep(t *testing.T) {
	t.Parallel()
	e := fixture.Engine(t, ctor.Config{})
	leave(t, e, deadOwner)
	files := filepath.Join(e.Root(), "containers", "ctor", "no-record")
	require.NoError(t, os.MkdirAll(files, 0o700))
	require.NoError(t, e.Close())

	e = fixture.Engine(t, ctor.Config{Root: e.Root()})
	require.Len(t, fixture.Count(t, e)["snapshots"], 1, "a root that was left in order is not searched")
	require.NoError(t, e.Close())

	require.NoError(t, os.Truncate(filepath.Join(e.Root(), "lock"), 0))
	e = fixture.Engine(t, ctor.Config{Root: e.Root(), Namespace: "other"}) // sweeps them all
	require.NoError(t, e.Close())
	e = fixture.Engine(t, ctor.Config{Root: e.Root()})
	require.Empty(t, fixture.Count(t, e))
	require.NoError(t, e.Close())
	require.Empty(t, traces(t, e.Root()))
}
