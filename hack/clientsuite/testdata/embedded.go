package client

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	. "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/ctorhq/ctor"
)

// engine is what all tests run against.
var engine *ctor.Engine

// TestMain opens the engine and pulls the image that the tests begin with.
func TestMain(m *testing.M) {
	flag.Parse()
	code, err := withEngine(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withEngine(m *testing.M) (code int, err error) {
	ctx, cancel := testContext(nil)
	defer cancel()
	if engine, err = ctor.Open(context.Background(), ctor.Config{Root: defaultRoot, Namespace: testNamespace}); err != nil {
		return 0, err
	}
	defer func() {
		if cerr := engine.Close(); err == nil {
			err = cerr
		}
	}()
	client := engine.Containerd()
	if err := client.NamespaceService().SetLabel(ctx, testNamespace, defaults.DefaultSnapshotterNSLabel, engine.Snapshotter()); err != nil {
		return 0, err
	}
	testSnapshotter = engine.Snapshotter()
	if _, err := client.Pull(ctx, testImage, WithPullUnpack); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// embedded makes a client of the services that the engine's own has, by New: a
// test closes its client, and gives it options.
func embedded(make func(string, ...Opt) (*Client, error), _ string, opts ...Opt) (*Client, error) {
	c := engine.Containerd()
	services := WithServices(
		WithContentStore(c.ContentStore()),
		WithImageStore(c.ImageService()),
		WithContainerStore(c.ContainerService()),
		WithNamespaceService(c.NamespaceService()),
		WithSnapshotters(map[string]snapshots.Snapshotter{
			"overlayfs": c.SnapshotService("overlayfs"), "native": c.SnapshotService("native"),
		}),
		WithTaskClient(c.TaskService()),
		WithDiffService(c.DiffService()),
		WithEventService(c.EventService()),
		WithLeasesService(c.LeasesService()),
		WithIntrospectionService(c.IntrospectionService()),
		WithSandboxStore(c.SandboxStore().(sandbox.Store)),
		WithTransferService(c.TransferService()),
		WithMountManager(c.MountManager()),
	)
	opts = append([]Opt{services, WithDefaultRuntime(c.Runtime())}, opts...)
	return make("", opts...)
}
