package image_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// published pushes busybox plus a layer to a new registry.
func published(t testing.TB, e *ctor.Engine, o *registrytest.Options) (*registrytest.Server, *image.Image, string) {
	t.Helper()
	srv := registrytest.NewServer(t, o)
	ref := srv.Host + "/team/app:v1"
	img, err := fixture.Busybox(t, e).Derive(t.Context(), ref, nil, text("hello.txt", "hello\n"))
	require.NoError(t, err)
	require.NoError(t, img.Push(t.Context(), "", &image.PushOptions{Registry: srv.Options()}))
	srv.ResetRequests()
	return srv, img, ref
}

func TestPull(t *testing.T) {
	t.Parallel()
	e := open(t)
	srv, pushed, ref := published(t, containertest.Engine(t), nil)

	var got []image.Progress
	var inside atomic.Int32
	img, err := image.Pull(t.Context(), e, ref, &image.PullOptions{Registry: srv.Options(), Progress: func(p image.Progress) {
		require.EqualValues(t, 1, inside.Add(1), "one goroutine at a time")
		got = append(got, p)
		inside.Add(-1)
	}})
	require.NoError(t, err)
	require.Equal(t, ref, img.Ref())
	require.Equal(t, pushed.Digest(), img.Digest())
	require.Equal(t, pushed.Digest(), img.Index())
	require.Equal(t, pushed.Spec(), img.Spec())
	require.Equal(t, "hello\n", output(t, img, "cat", "/hello.txt"))

	layers, err := img.Layers(t.Context())
	require.NoError(t, err)
	for _, l := range layers {
		var seen []image.Phase
		var last image.Progress
		for _, p := range got {
			if p.Layer != l.Digest {
				continue
			}
			require.Equal(t, l.Size, p.Total)
			require.LessOrEqual(t, p.Bytes, p.Total)
			if p.Phase == last.Phase {
				require.Greater(t, p.Bytes, last.Bytes)
			} else {
				seen = append(seen, p.Phase)
			}
			last = p
		}
		require.Equal(t, []image.Phase{image.Waiting, image.Fetching, image.Fetched, image.Extracting, image.Complete}, seen)
		require.Equal(t, l.Size, last.Bytes)
	}
}

func TestPullPolicies(t *testing.T) {
	t.Parallel()
	e := open(t)
	srv, pushed, ref := published(t, containertest.Engine(t), nil)
	pull := func(p image.Policy, progress func(image.Progress)) (*image.Image, error) {
		return image.Pull(t.Context(), e, ref, &image.PullOptions{Policy: p, Registry: srv.Options(), Progress: progress})
	}

	unchanged(t, e, func() {
		_, err := pull(image.PullNever, nil)
		require.ErrorIs(t, err, ctor.ErrNotFound)
		require.ErrorContains(t, err, `pull image "`+ref+`": no such image`)
	})
	require.Empty(t, srv.Requests())

	_, err := pull(image.PullMissing, nil)
	require.NoError(t, err)
	require.NotEmpty(t, srv.Requests())

	// What is there is asked for no more.
	srv.ResetRequests()
	for _, p := range []image.Policy{image.PullMissing, image.PullNever} {
		again, err := pull(p, func(image.Progress) { t.Error("nothing is pulled") })
		require.NoError(t, err)
		require.Equal(t, pushed.Digest(), again.Digest())
	}
	require.Empty(t, srv.Requests())

	// Always asks, and fetches only what is new.
	newer, err := pushed.Derive(t.Context(), ref, nil, text("more.txt", "more\n"))
	require.NoError(t, err)
	require.NoError(t, newer.Push(t.Context(), "", &image.PushOptions{Registry: srv.Options()}))
	srv.ResetRequests()
	phases := map[digest.Digest]image.Phase{}
	got, err := pull(image.PullAlways, func(p image.Progress) { phases[p.Layer] = p.Phase })
	require.NoError(t, err)
	require.Equal(t, newer.Digest(), got.Digest())
	layers, err := got.Layers(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[digest.Digest]image.Phase{
		layers[0].Digest: image.Exists, layers[1].Digest: image.Exists, layers[2].Digest: image.Complete,
	}, phases)
	require.Equal(t, 2, count(srv, http.MethodGet, "/blobs/"), "configuration and one layer")
	require.Equal(t, "more\n", output(t, got, "cat", "/more.txt"))

	// Always, with nothing new, is one question.
	srv.ResetRequests()
	_, err = pull(image.PullAlways, nil)
	require.NoError(t, err)
	require.Equal(t, 1, len(srv.Requests()), "%v", srv.Requests())
}

func count(srv *registrytest.Server, method, path string) (n int) {
	for _, r := range srv.Requests() {
		if r.Method == method && strings.Contains(r.Path, path) {
			n++
		}
	}
	return n
}

// multi is an index of an image for this machine and one for another.
func multi(t testing.TB) (both raw, here, there raw) {
	t.Helper()
	here = rawImage(t, native, nil, tarOf(t, file("x", "native")))
	there = rawImage(t, foreign, nil, tarOf(t, file("x", "foreign")))
	attestation := rawImage(t, ocispec.Platform{OS: "unknown", Architecture: "unknown"}, nil)
	return indexOf(t, []raw{there, attestation, here}, &foreign, &ocispec.Platform{OS: "unknown", Architecture: "unknown"}, &native), here, there
}

func TestPullPlatforms(t *testing.T) {
	t.Parallel()
	e := open(t)
	both, here, there := multi(t)
	srv, ref := serve(t, both)
	pull := func(platform string) (*image.Image, error) {
		return image.Pull(t.Context(), e, ref, &image.PullOptions{Platform: platform, Registry: srv.Options()})
	}
	mine, err := pull("")
	require.NoError(t, err)
	require.Equal(t, here.manifest.Digest, mine.Digest())
	require.Equal(t, both.manifest.Digest, mine.Index())
	require.Equal(t, 3, count(srv, http.MethodGet, "/"+here.blobs[0].Digest.String())+count(srv, http.MethodGet, "/"+here.blobs[1].Digest.String())+
		count(srv, http.MethodGet, "/"+here.manifest.Digest.String()))
	require.Zero(t, count(srv, http.MethodGet, there.manifest.Digest.String()), "the other platform stays where it is")

	// The other platform is missing, although the name is there.
	before := len(remains(t, e)["snapshots"])
	other, err := pull("linux/" + foreign.Architecture)
	require.NoError(t, err)
	require.Equal(t, there.manifest.Digest, other.Digest())
	require.Len(t, remains(t, e)["snapshots"], before, "it is not unpacked")

	// One must not push the other out.
	require.NoError(t, image.Export(t.Context(), discard{}, mine, other))
	throwaway, err := image.New(t.Context(), e, "throwaway", ocispec.ImageConfig{})
	require.NoError(t, err)
	require.NoError(t, throwaway.Remove(t.Context())) // collects
	require.NoError(t, image.Export(t.Context(), discard{}, mine, other))
	got, err := image.Get(t.Context(), e, ref)
	require.NoError(t, err)
	require.Equal(t, mine.Digest(), got.Digest(), "this machine's is preferred")

	// It can be all but run.
	unchanged(t, e, func() {
		_, err = other.New(t.Context(), container.Config{})
		require.ErrorIs(t, err, ctor.ErrInvalid)
		require.ErrorContains(t, err, "the image is for linux/"+foreign.Architecture+", this machine runs linux/"+native.Architecture)
	})
	derived, err := other.Derive(t.Context(), srv.Host+"/derived", nil, text("y", "y"))
	require.NoError(t, err)
	require.Equal(t, foreign, derived.Spec().Platform)
	require.NoError(t, derived.Push(t.Context(), "", &image.PushOptions{Registry: srv.Options()}))
	list, err := image.Import(t.Context(), open(t), stream(export(t, derived)))
	require.NoError(t, err)
	require.Equal(t, derived.Digest(), list[0].Digest())
}

func TestPullPlatformIsMissing(t *testing.T) {
	t.Parallel()
	e := open(t)
	_, here, there := multi(t)
	for name, c := range map[string]struct {
		have     raw
		platform string
		says     string
		class    error
	}{
		"index without":    {indexOf(t, []raw{there}, &foreign), "", `the image is for ["linux/` + foreign.Architecture + `"] only`, ctor.ErrNotFound},
		"empty index":      {indexOf(t, nil), "", `the image is for [] only`, ctor.ErrNotFound},
		"manifest only":    {there, "", `the image is for "linux/` + foreign.Architecture + `"`, ctor.ErrNotFound},
		"index of silence": {indexOf(t, []raw{there}, nil), "", `the image is for "linux/` + foreign.Architecture + `"`, ctor.ErrNotFound},
		"other wanted":     {here, "linux/" + foreign.Architecture, `the image is for "linux/` + native.Architecture + `"`, ctor.ErrNotFound},
		"no platform":      {here, "a/b/c/d", `platform "a/b/c/d"`, ctor.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			srv, ref := serve(t, c.have)
			unchanged(t, e, func() {
				_, err := image.Pull(t.Context(), e, ref, &image.PullOptions{Platform: c.platform, Registry: srv.Options()})
				require.ErrorIs(t, err, c.class)
				require.ErrorContains(t, err, c.says)
			})
		})
	}
}

// Layers come uncompressed, in zstd, twice, with Docker's types, and in
// indexes of indexes.
func TestPullKinds(t *testing.T) {
	t.Parallel()
	a, b := tarOf(t, file("a", "a")), tarOf(t, file("b", "b"))
	config := ocispec.Image{Platform: native, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{
		digest.FromBytes(a), digest.FromBytes(b), digest.FromBytes(a), digest.FromBytes(a),
	}}}
	plain := newBlob(ocispec.MediaTypeImageLayer, a)
	mixed := rawOf(t, config, nil, plain, newBlob(ocispec.MediaTypeImageLayerZstd, zstandard(t, b)), plain,
		newBlob("application/vnd.docker.image.rootfs.diff.tar.gzip", gzipped(t, a)))
	nested := indexOf(t, []raw{indexOf(t, []raw{mixed}, &native)}, nil)
	for name, r := range map[string]raw{"manifest": mixed, "nested": nested} {
		t.Run(name, func(t *testing.T) {
			e := open(t)
			srv, ref := serve(t, r)
			var got []image.Progress
			img, err := image.Pull(t.Context(), e, ref, &image.PullOptions{Registry: srv.Options(), Progress: func(p image.Progress) { got = append(got, p) }})
			require.NoError(t, err)
			require.Equal(t, mixed.manifest.Digest, img.Digest())
			require.True(t, slices.ContainsFunc(got, func(p image.Progress) bool { return p.Layer == plain.Digest }))
			layers, err := img.Layers(t.Context())
			require.NoError(t, err)
			require.Len(t, layers, 4)
			for n, l := range layers {
				require.Equal(t, [][]byte{a, b, a, a}[n], read(t, l))
			}
			require.Equal(t, 4, count(srv, http.MethodGet, "/blobs/"), "a layer that is listed twice is fetched once")
		})
	}
}

// Many pulls at once are one download.
func TestPullAtOnce(t *testing.T) {
	t.Parallel()
	e := open(t)
	srv, pushed, ref := published(t, containertest.Engine(t), nil)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			img, err := image.Pull(t.Context(), e, ref, &image.PullOptions{Registry: srv.Options()})
			if err != nil || img.Digest() != pushed.Digest() {
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	gets := map[string]int{}
	for _, r := range srv.Requests() {
		if r.Method == http.MethodGet {
			gets[r.Path]++
		}
	}
	require.Len(t, gets, 4, "manifest, configuration, two layers")
	for path, n := range gets {
		require.Equal(t, 1, n, path)
	}
	require.Len(t, remains(t, e)["snapshots"], 2)
	require.Empty(t, remains(t, e)["leases"])
}

func TestPullAuth(t *testing.T) {
	t.Parallel()
	e := open(t)
	srv, _, ref := published(t, containertest.Engine(t), &registrytest.Options{Username: "u", Password: "p"})
	other := registrytest.NewServer(t, nil)
	unchanged(t, e, func() {
		_, err := image.Pull(t.Context(), e, ref, &image.PullOptions{Registry: other.Options()})
		require.ErrorContains(t, err, "no credentials")
		require.ErrorContains(t, err, "docker login "+srv.Host)
	})
	_, err := image.Pull(t.Context(), e, ref, &image.PullOptions{Registry: srv.Options()})
	require.NoError(t, err)
}

// An image that has lost a part is whole again after a pull, unless it can be
// run as it is.
func TestPullMissingParts(t *testing.T) {
	t.Parallel()
	e := open(t)
	both, _, _ := multi(t)
	srv, ref := serve(t, both)
	for _, platform := range []string{"linux/" + foreign.Architecture, "linux/" + native.Architecture} {
		o := &image.PullOptions{Platform: platform, Registry: srv.Options()}
		img, err := image.Pull(t.Context(), e, ref, o)
		require.NoError(t, err)
		layers, err := img.Layers(t.Context())
		require.NoError(t, err)
		require.NoError(t, e.Containerd().ContentStore().Delete(e.Context(t.Context()), layers[0].Digest))

		_, err = img.Layers(t.Context())
		require.ErrorIs(t, err, ctor.ErrNotFound)
		require.ErrorContains(t, err, "its part "+layers[0].Digest.String()+" is not in the store")
		require.ErrorIs(t, image.Export(t.Context(), discard{}, img), ctor.ErrNotFound)
		require.ErrorIs(t, img.Push(t.Context(), "", &image.PushOptions{Registry: o.Registry}), ctor.ErrNotFound)
		_, err = img.Derive(t.Context(), "derived", nil)
		require.ErrorIs(t, err, ctor.ErrNotFound)
		got, err := image.Get(t.Context(), e, ref)
		require.NoError(t, err)
		require.Equal(t, both.manifest.Digest, got.Index())

		srv.ResetRequests()
		_, err = image.Pull(t.Context(), e, ref, o)
		require.NoError(t, err)
		if platform == "linux/"+foreign.Architecture {
			require.Equal(t, 1, count(srv, http.MethodGet, ""), "the layer")
		} else {
			require.Empty(t, srv.Requests(), "it is unpacked, and can be run")
			o.Policy = image.PullAlways
			_, err = image.Pull(t.Context(), e, ref, o)
			require.NoError(t, err)
		}
		_, err = img.Layers(t.Context())
		require.NoError(t, err)
	}
}

// Where there is no overlayfs, everything goes as well.
func TestNativeSnapshotter(t *testing.T) {
	t.Parallel()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: t.TempDir(), Snapshotter: "native"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	srv, _, ref := published(t, containertest.Engine(t), nil)
	before := remains(t, e)
	img, err := image.Pull(t.Context(), e, ref, &image.PullOptions{Registry: srv.Options()})
	require.NoError(t, err)
	c, err := img.Run(t.Context(), container.Config{Args: []string{"sh", "-c", "echo new >/new.txt; rm /etc/group"}})
	require.NoError(t, err)
	require.NoError(t, c.Wait(t.Context()))
	committed, err := image.Commit(t.Context(), c, "committed", nil)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	layers, err := committed.Layers(t.Context())
	require.NoError(t, err)
	require.Subset(t, names(t, layers[2]), []string{"new.txt", "etc/.wh.group"})
	require.NoError(t, committed.Remove(t.Context()))
	require.NoError(t, img.Remove(t.Context()))
	before.Same(t, func() fixture.Remains { return remains(t, e) })
}
