package image_test

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/layer"
)

func tarLayer(t *testing.T, headers ...tar.Header) layer.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		require.NoError(t, w.WriteHeader(&h))
	}
	require.NoError(t, w.Close())
	l, err := layer.FromTar(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	require.NoError(t, err)
	return l
}

// An image is unpacked as it is meant, and so are its layers by a client of
// containerd's that does it itself, with either snapshotter.
func TestUnpackMeaning(t *testing.T) {
	const want = ". dr-xr-xr-x, d drwx------, d/new -rw-r--r--, f -rwxr-xr-x, g -rwxr-xr-x"
	for _, snapshotter := range []string{"overlayfs", "native"} {
		t.Run(snapshotter, func(t *testing.T) {
			e, err := ctor.Open(t.Context(), ctor.Config{Root: t.TempDir(), Snapshotter: snapshotter})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, e.Close()) })
			img, err := image.New(t.Context(), e, "example.org/meaning:1", ocispec.ImageConfig{},
				tarLayer(t, tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o555}, tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755},
					tar.Header{Name: "d/old", Typeflag: tar.TypeReg, Mode: 0o644}, tar.Header{Name: "f", Typeflag: tar.TypeReg, Mode: 0o755}),
				tarLayer(t, tar.Header{Name: ".wh.d", Typeflag: tar.TypeReg}, tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o700},
					tar.Header{Name: "d/new", Typeflag: tar.TypeReg, Mode: 0o644}, tar.Header{Name: "g", Linkname: "f", Typeflag: tar.TypeLink}))
			require.NoError(t, err)
			f, err := img.FS(t.Context())
			require.NoError(t, err)
			defer f.Close()
			require.Equal(t, want, modes(t, f))

			ctx, client := e.Context(t.Context()), e.Containerd()
			manifest, err := images.Manifest(ctx, client.ContentStore(), ocispec.Descriptor{
				MediaType: ocispec.MediaTypeImageManifest, Digest: img.Digest(),
			}, nil)
			require.NoError(t, err)
			sn, parent := client.SnapshotService(snapshotter), ""
			for _, l := range manifest.Layers {
				key := "by hand " + l.Digest.String()
				label := snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "now"})
				mounts, err := sn.Prepare(ctx, key, parent, label)
				require.NoError(t, err)
				_, err = client.DiffService().Apply(ctx, l, mounts)
				require.NoError(t, err)
				parent = "done " + key
				require.NoError(t, sn.Commit(ctx, parent, key, label))
			}
			mounts, err := sn.View(ctx, "view", parent)
			require.NoError(t, err)
			at := filepath.Join(t.TempDir(), "at")
			require.NoError(t, os.Mkdir(at, 0o700))
			require.NoError(t, mount.All(mounts, at))
			t.Cleanup(func() { require.NoError(t, mount.UnmountAll(at, 0)) })
			require.Equal(t, want, modes(t, os.DirFS(at)))
		})
	}
}

func modes(t *testing.T, f fs.FS) string {
	t.Helper()
	var all []string
	require.NoError(t, fs.WalkDir(f, ".", func(name string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		i, err := d.Info()
		require.NoError(t, err)
		all = append(all, name+" "+i.Mode().String())
		return nil
	}))
	return strings.Join(all, ", ")
}
