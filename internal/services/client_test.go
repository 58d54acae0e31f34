package services_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	eventsapi "github.com/containerd/containerd/api/events"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/transfer/archive"
	"github.com/containerd/containerd/v2/core/transfer/image"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container/containertest"
	ctorimage "github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/layer"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// All of containerd's client works over services in this process.
func TestClient(t *testing.T) {
	e := containertest.Engine(t)
	for name, test := range map[string]func(*testing.T, *ctor.Engine, *containerd.Client){
		"leases": testLeases, "content": testContent, "images": testImages, "snapshots": testSnapshots,
		"namespaces": testNamespaces, "introspection": testIntrospection, "transfer": testTransfer, "tasks": testTasks,
		"layers at once": testLayersAtOnce,
	} {
		t.Run(name, func(t *testing.T) { test(t, e, e.Containerd()) })
	}
}

func testLeases(t *testing.T, e *ctor.Engine, c *containerd.Client) {
	ctx := e.Context(t.Context())
	m := c.LeasesService()
	l, err := m.Create(ctx, leases.WithRandomID())
	require.NoError(t, err)
	d := ocispec.Descriptor{Digest: digest.FromString("leased"), Size: 6}
	require.NoError(t, content.WriteBlob(leases.WithLease(ctx, l.ID), c.ContentStore(), "leased", strings.NewReader("leased"), d))
	resources, err := m.ListResources(ctx, l)
	require.NoError(t, err)
	require.Len(t, resources, 1)
	// A lease that is deleted synchronously takes what only it had along.
	require.NoError(t, m.Delete(ctx, l, leases.SynchronousDelete))
	_, err = c.ContentStore().Info(ctx, d.Digest)
	require.ErrorIs(t, err, errdefs.ErrNotFound)
	ctx, done, err := c.WithLease(ctx)
	require.NoError(t, err)
	require.NoError(t, done(ctx))
}

func testContent(t *testing.T, e *ctor.Engine, c *containerd.Client) {
	ctx := e.Context(t.Context())
	cs := c.ContentStore()
	d := ocispec.Descriptor{Digest: digest.FromString("hello"), Size: 5}
	ctx, done, err := c.WithLease(ctx)
	require.NoError(t, err)
	defer done(ctx)
	require.NoError(t, content.WriteBlob(ctx, cs, "hello", strings.NewReader("hello"), d))
	b, err := content.ReadBlob(ctx, cs, d)
	require.NoError(t, err)
	require.Equal(t, "hello", string(b))
	_, err = cs.Update(ctx, content.Info{Digest: d.Digest, Labels: map[string]string{"a": "b"}}, "labels.a")
	require.NoError(t, err)
	i, err := cs.Info(ctx, d.Digest)
	require.NoError(t, err)
	require.Equal(t, "b", i.Labels["a"])
	err = content.WriteBlob(ctx, cs, "bad", strings.NewReader("wrong"), ocispec.Descriptor{Digest: digest.FromString("right"), Size: 5})
	require.ErrorIs(t, err, errdefs.ErrFailedPrecondition)
	require.NoError(t, cs.Abort(ctx, "bad"))
}

func testImages(t *testing.T, e *ctor.Engine, c *containerd.Client) {
	ctx := e.Context(t.Context())
	is := c.ImageService()
	img, err := ctorimage.New(t.Context(), e, "ctor.test/images:1", ocispec.ImageConfig{}, fixture.BusyboxLayer(t))
	require.NoError(t, err)
	list, err := is.List(ctx, `name=="ctor.test/images:1"`)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, is.Delete(ctx, img.Ref(), images.SynchronousDelete()))
	_, err = c.ContentStore().Info(ctx, img.Digest())
	require.ErrorIs(t, err, errdefs.ErrNotFound, "its manifest goes with it")
}

func testSnapshots(t *testing.T, e *ctor.Engine, c *containerd.Client) {
	ctx, done, err := c.WithLease(e.Context(t.Context()))
	require.NoError(t, err)
	defer done(ctx)
	for _, name := range []string{"overlayfs", "native"} {
		sn := c.SnapshotService(name)
		m, err := sn.Prepare(ctx, "key", "")
		require.NoError(t, err)
		require.Len(t, m, 1)
		require.NoError(t, sn.Commit(ctx, "layer", "key"))
		_, err = sn.View(ctx, "view", "layer")
		require.NoError(t, err)
		var kinds []snapshots.Kind
		require.NoError(t, sn.Walk(ctx, func(_ context.Context, i snapshots.Info) error {
			if i.Name == "layer" || i.Name == "view" {
				kinds = append(kinds, i.Kind)
			}
			return nil
		}))
		require.Equal(t, []snapshots.Kind{snapshots.KindCommitted, snapshots.KindView}, kinds)
		require.ErrorIs(t, sn.Remove(ctx, "layer"), errdefs.ErrFailedPrecondition)
		require.NoError(t, sn.Remove(ctx, "view"))
		require.NoError(t, sn.Remove(ctx, "layer"))
	}
}

func testNamespaces(t *testing.T, e *ctor.Engine, c *containerd.Client) {
	ctx := e.Context(t.Context())
	ns := c.NamespaceService()
	require.NoError(t, ns.Create(ctx, "another", map[string]string{"a": "b"}))
	labels, err := ns.Labels(ctx, "another")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "b"}, labels)
	all, err := ns.List(ctx)
	require.NoError(t, err)
	require.Contains(t, all, "another")
	require.NoError(t, ns.Delete(ctx, "another"))
}

func testIntrospection(t *testing.T, e *ctor.Engine, c *containerd.Client) {
	ctx := e.Context(t.Context())
	p, err := c.IntrospectionService().Plugins(ctx, `type=="io.containerd.snapshotter.v1"`)
	require.NoError(t, err)
	require.Len(t, p.Plugins, 2)
	s, err := c.IntrospectionService().Server(ctx)
	require.NoError(t, err)
	require.NotEmpty(t, s.UUID)
	require.Equal(t, "io.containerd.ctor.v2", c.Runtime())
	_, err = c.GetSnapshotterCapabilities(ctx, e.Snapshotter())
	require.NoError(t, err)
}

func testTransfer(t *testing.T, e *ctor.Engine, c *containerd.Client) {
	ctx := e.Context(t.Context())
	img, err := ctorimage.New(t.Context(), e, "ctor.test/transfer:1", ocispec.ImageConfig{}, fixture.BusyboxLayer(t))
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, ctorimage.Export(t.Context(), &b, img))
	require.NoError(t, img.Remove(t.Context()))
	require.NoError(t, c.TransferService().Transfer(ctx, archive.NewImageImportStream(&b, ""), image.NewStore("", image.WithNamedPrefix("ctor.test", false))))
	got, err := c.ImageService().Get(ctx, img.Ref())
	require.NoError(t, err)
	require.NoError(t, c.TransferService().Transfer(ctx, image.NewStore(img.Ref()), image.NewStore("ctor.test/transfer:2")))
	tagged, err := c.ImageService().Get(ctx, "ctor.test/transfer:2")
	require.NoError(t, err)
	require.Equal(t, got.Target.Digest, tagged.Target.Digest)
	require.NoError(t, c.ImageService().Delete(ctx, "ctor.test/transfer:2"))
	require.NoError(t, c.ImageService().Delete(ctx, img.Ref(), images.SynchronousDelete()))
}

// A client that asks for all layers to be unpacked at once gets the right tree.
func testLayersAtOnce(t *testing.T, e *ctor.Engine, c *containerd.Client) {
	ctx := e.Context(t.Context())
	below := layer.FromFS(fstest.MapFS{
		"box": {Mode: fs.ModeDir | 0o700}, "box/gone": {}, "box/stays": {},
	}, nil)
	above, err := layer.FromTar(func() (io.ReadCloser, error) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, name := range []string{"box/new", "box/.wh.gone"} { // and no box
			require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}))
		}
		require.NoError(t, w.Close())
		return io.NopCloser(&b), nil
	})
	require.NoError(t, err)
	ref := registrytest.NewServer(t, nil).Host + "/layers:1"
	pushed, err := ctorimage.New(t.Context(), e, ref, ocispec.ImageConfig{}, below, above)
	require.NoError(t, err)
	require.NoError(t, pushed.Push(t.Context(), ref, nil))
	require.NoError(t, pushed.Remove(t.Context()))
	_, err = c.Pull(ctx, ref, containerd.WithPullUnpack,
		containerd.WithUnpackOpts([]containerd.UnpackOpt{containerd.WithUnpackLimiter(semaphore.NewWeighted(3))}))
	require.NoError(t, err)
	img, err := ctorimage.Get(t.Context(), e, ref)
	require.NoError(t, err)
	tree, err := img.FS(t.Context())
	require.NoError(t, err)
	defer tree.Close()
	box, err := fs.Stat(tree, "box")
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|0o700, box.Mode())
	found, err := fs.Glob(tree, "box/*")
	require.NoError(t, err)
	require.Equal(t, []string{"box/new", "box/stays"}, found)
	require.NoError(t, img.Remove(t.Context()))
}

// testTasks uses the client as a stranger's program would, and hears of all.
func testTasks(t *testing.T, e *ctor.Engine, c *containerd.Client) {
	ctx := e.Context(t.Context())
	events, errs := c.Subscribe(ctx, `topic~="^/tasks/",namespace==ctor`)
	img, err := c.GetImage(ctx, fixture.Busybox(t, e).Ref())
	require.NoError(t, err)
	require.NoError(t, img.Unpack(ctx, e.Snapshotter()))
	made, err := c.NewContainer(ctx, "stranger",
		containerd.WithSnapshotter(e.Snapshotter()),
		containerd.WithNewSnapshot("stranger", img),
		containerd.WithNewSpec(oci.WithImageConfig(img), oci.WithProcessArgs("sh", "-c", "exit 5"),
			oci.WithCgroup(filepath.Join(cgroup.Parent(e.Root(), "ctor"), "stranger"))))
	require.NoError(t, err)
	task, err := made.NewTask(ctx, cio.NullIO)
	require.NoError(t, err)
	ended, err := task.Wait(ctx)
	require.NoError(t, err)
	require.NoError(t, task.Start(ctx))
	require.EqualValues(t, 5, (<-ended).ExitCode())
	_, err = task.Delete(ctx)
	require.NoError(t, err)
	require.NoError(t, made.Delete(ctx, containerd.WithSnapshotCleanup))

	var got []string
	for len(got) < 4 {
		select {
		case e := <-events:
			v, err := typeurl.UnmarshalAny(e.Event)
			require.NoError(t, err)
			if id := v.(interface{ GetContainerID() string }).GetContainerID(); id == "stranger" {
				got = append(got, e.Topic)
			}
			if x, ok := v.(*eventsapi.TaskExit); ok {
				require.EqualValues(t, 5, x.ExitStatus)
			}
		case err := <-errs:
			require.NoError(t, err)
		}
	}
	require.Equal(t, []string{"/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"}, got)
}
