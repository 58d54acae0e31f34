package container_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	"github.com/containerd/containerd/api/services/diff/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	introspectionapi "github.com/containerd/containerd/api/services/introspection/v1"
	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	containerd "github.com/containerd/containerd/v2/client"
	contentproxy "github.com/containerd/containerd/v2/core/content/proxy"
	introspectionproxy "github.com/containerd/containerd/v2/core/introspection/proxy"
	leasesproxy "github.com/containerd/containerd/v2/core/leases/proxy"
	"github.com/containerd/containerd/v2/core/snapshots"
	snapshotsproxy "github.com/containerd/containerd/v2/core/snapshots/proxy"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/logfile"
)

var errRefused = fmt.Errorf("the third backend does nothing: %w", errdefs.ErrPermissionDenied)

// third is a backend that is neither Open's nor Dial's. It refuses everything.
type third struct{}

var _ engine.Backend = third{}

func (third) Sole() bool                                                   { return false }
func (third) Gone(err error) bool                                          { return errdefs.IsPermissionDenied(err) }
func (third) Reaches(string) bool                                          { return true }
func (third) Drafts(string) bool                                           { return false }
func (third) Permits(*specs.Spec) error                                    { return nil }
func (third) Clear(context.Context, string, string, error) error           { return errRefused }
func (third) Relimit(context.Context, string, *specs.LinuxResources) error { return errRefused }
func (third) Parker() engine.Parker                                        { return nil }
func (third) Relays(bool) bool                                             { return true }
func (third) Detach(engine.Output) (engine.Streams, error)                 { return nil, errRefused }
func (third) Attach(engine.Output, engine.Stdio) (engine.Streams, error)   { return nil, errRefused }
func (third) Complete(context.Context, engine.Output) error                { return errRefused }
func (third) Logs(context.Context, engine.Output, logfile.Options) (io.ReadCloser, error) {
	return nil, errRefused
}

// refusing is a connection to a containerd that has one record, and refuses the
// rest.
type refusing struct{}

func (refusing) Invoke(_ context.Context, method string, _, reply any, _ ...grpc.CallOption) error {
	one := &containersapi.Container{
		ID: "one", Spec: &anypb.Any{Value: []byte("{}")}, Snapshotter: "x", SnapshotKey: "one",
		Extensions: map[string]*anypb.Any{"io.ctor.record": {TypeUrl: "io.ctor/record", Value: []byte("{}")}},
	}
	switch r := reply.(type) {
	case *containersapi.GetContainerResponse:
		r.Container = one
		return nil
	case *containersapi.ListContainersResponse:
		r.Containers = []*containersapi.Container{one}
		return nil
	}
	return errgrpc.ToGRPC(errRefused)
}

func (refusing) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return silent{}, nil
}

// silent is a stream of a containerd that is too old to have it.
type silent struct{ grpc.ClientStream }

func (silent) SendMsg(any) error { return nil }
func (silent) CloseSend() error  { return nil }
func (silent) RecvMsg(any) error { return errgrpc.ToGRPC(errdefs.ErrNotImplemented) }

// overThird is an engine over it. What the root package does for Open and Dial
// is done here, and nothing else needs to know.
func overThird(t *testing.T) *engine.Engine {
	var conn refusing
	client, err := containerd.New("", containerd.WithServices(
		containerd.WithContainerClient(containersapi.NewContainersClient(conn)),
		containerd.WithTaskClient(tasksapi.NewTasksClient(conn)),
		containerd.WithSnapshotters(map[string]snapshots.Snapshotter{"x": snapshotsproxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(conn), "x")}),
		containerd.WithContentStore(contentproxy.NewContentStore(conn)),
		containerd.WithImageClient(imagesapi.NewImagesClient(conn)),
		containerd.WithDiffClient(diff.NewDiffClient(conn)),
		containerd.WithLeasesService(leasesproxy.NewLeaseManager(leasesapi.NewLeasesClient(conn))),
		containerd.WithNamespaceClient(namespacesapi.NewNamespacesClient(conn)),
		containerd.WithIntrospectionService(introspectionproxy.NewIntrospectionProxy(introspectionapi.NewIntrospectionClient(conn))),
	), containerd.WithDefaultNamespace("third"))
	require.NoError(t, err)
	root := t.TempDir()
	in := &engine.Engine{
		Client: client, Namespace: "third", Snapshotter: "x", Snapshotters: []string{"x"},
		Root: root, Files: root, Runtime: "third", Backend: third{},
	}
	in.Init()
	return in
}

// thirds are the engines over it, by what the public packages know of them.
var thirds sync.Map

func init() {
	known := engine.Of
	engine.Of = func(e any) *engine.Engine {
		if in, ok := thirds.Load(e); ok {
			return in.(*engine.Engine)
		}
		return known(e)
	}
}

// A third backend compiles against the interface, and all that it refuses comes
// out of the public calls as it is.
func TestThirdBackend(t *testing.T) {
	in, e := overThird(t), &ctor.Engine{}
	thirds.Store(e, in)
	defer thirds.Delete(e)
	ctx := t.Context()

	_, err := container.New(ctx, e, "x", ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("x"), Size: 1}, container.Config{})
	require.ErrorIs(t, err, errdefs.ErrPermissionDenied)
	list, err := container.List(ctx, e)
	require.NoError(t, err)
	require.Len(t, list, 1)
	c, err := container.Get(ctx, e, "one")
	require.NoError(t, err)
	i := info(t, c)
	require.Equal(t, container.Exited, i.State)
	require.Equal(t, -1, i.ExitCode)
	require.ErrorIs(t, c.Start(ctx), ctor.ErrInvalid, "it is neither kept, nor detached, nor this program's")
	require.NoError(t, c.Stop(ctx))
	require.ErrorIs(t, c.Wait(ctx), ctor.ErrUnavailable)
	_, err = c.Logs(ctx, nil)
	require.ErrorIs(t, err, errdefs.ErrPermissionDenied)
	_, err = c.FS().ReadFile("x")
	require.ErrorIs(t, err, errdefs.ErrPermissionDenied)
	_, err = c.Stats(ctx)
	require.ErrorIs(t, err, ctor.ErrInvalid, "it has ended")
	_, err = c.Dial(ctx, "tcp", ":80")
	require.ErrorIs(t, err, ctor.ErrInvalid)
	require.Error(t, c.Command(ctx, "true").Run())
	require.ErrorIs(t, c.Close(), errdefs.ErrPermissionDenied)
	_, err = in.Shut()
	require.ErrorIs(t, err, errdefs.ErrPermissionDenied, "what New has half made is still owed")
}
