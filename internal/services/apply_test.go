package services

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/diff/apply"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/snapshots/native"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/containerd/plugin"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// stored is a store with one layer, which has something after its end.
func stored(t *testing.T, packed bool) (content.Store, ocispec.Descriptor) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, hdr := range []tar.Header{
		{Name: "dir/", Typeflag: tar.TypeDir, Mode: 0o751},
		{Name: "dir/file", Typeflag: tar.TypeReg, Mode: 0o640, Size: 4},
		{Name: "deep/er/link", Typeflag: tar.TypeSymlink, Linkname: "x"},
		{Name: "dir/.wh.gone", Typeflag: tar.TypeReg},
	} {
		require.NoError(t, w.WriteHeader(&hdr))
		if hdr.Size > 0 {
			_, err := w.Write([]byte("text"))
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	b.Write(make([]byte, 5000))
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer}
	blob := b.Bytes()
	if packed {
		var z bytes.Buffer
		gz := gzip.NewWriter(&z)
		_, err := gz.Write(blob)
		require.NoError(t, err)
		require.NoError(t, gz.Close())
		blob, d.MediaType = z.Bytes(), ocispec.MediaTypeImageLayerGzip
	}
	d.Digest, d.Size = digest.FromBytes(blob), int64(len(blob))
	s, err := local.NewStore(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, content.WriteBlob(t.Context(), s, "layer", bytes.NewReader(blob), d))
	return s, d
}

// A layer that goes into a directory is unpacked as containerd does it, without
// the mount that containerd makes for it.
func TestApply(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, packed := range []bool{false, true} {
		store, layer := stored(t, packed)
		theirs := apply.NewFileSystemApplier(store)
		into := func(a diff.Applier) (dir string, d ocispec.Descriptor, told []int64) {
			dir = t.TempDir()
			d, err := a.Apply(t.Context(), layer, []mount.Mount{{Type: "bind", Source: dir, Options: []string{"rw", "rbind"}}},
				diff.WithSyncFs(true), func(_ context.Context, _ ocispec.Descriptor, c *diff.ApplyConfig) error {
					c.Progress = func(n int64) { told = append(told, n) }
					return nil
				})
			require.NoError(t, err)
			return dir, d, told
		}
		want, wantDesc, wantTold := into(theirs)
		got, gotDesc, gotTold := into(&applier{Applier: refused{}, store: store})
		require.Equal(t, wantDesc, gotDesc)
		require.Equal(t, wantTold[len(wantTold)-1], gotTold[len(gotTold)-1])
		require.Equal(t, tree(t, want), tree(t, got))
		require.NoFileExists(t, filepath.Join(got, "dir/.wh.gone"))
	}
}

// refused is an applier that nothing is to be left to.
type refused struct{ diff.Applier }

func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		name, _ := filepath.Rel(dir, path)
		all[name] = info.Mode().String()
		return err
	}))
	return all
}

// Of what a layer is not, the error is containerd's.
func TestApplyBroken(t *testing.T) {
	store, layer := stored(t, false)
	layer.MediaType = ocispec.MediaTypeImageLayerGzip
	a := &applier{Applier: refused{}, store: store}
	dir := t.TempDir()
	mounts := []mount.Mount{{Type: "bind", Source: dir}}
	_, err := a.Apply(t.Context(), layer, mounts)
	require.NoError(t, err, "what is not compressed is found to be so")
	layer.Digest = digest.FromString("another")
	_, err = a.Apply(t.Context(), layer, mounts)
	require.ErrorContains(t, err, "unpack "+layer.Digest.String())
	layer.MediaType = "text/plain"
	_, err = a.Apply(t.Context(), layer, mounts)
	require.Error(t, err)
}

// Directories that become containers' roots have one mode in every program, and a
// snapshotter that removes things later still does.
func TestMasked(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	over, err := overlay.NewSnapshotter(t.TempDir(), overlay.AsynchronousRemove)
	require.NoError(t, err)
	plain, err := native.NewSnapshotter(t.TempDir())
	require.NoError(t, err)
	for _, theirs := range []snapshots.Snapshotter{over, plain} {
		i, err := newMasked(&plugin.InitContext{}, theirs)
		require.NoError(t, err)
		s := i.(snapshots.Snapshotter)
		_, is := theirs.(snapshots.Cleaner)
		_, still := i.(snapshots.Cleaner)
		require.Equal(t, is, still)
		old := unix.Umask(0o077)
		mounts, err := s.Prepare(t.Context(), "active", "")
		views, verr := s.View(t.Context(), "view", "")
		unix.Umask(old)
		require.NoError(t, err)
		require.NoError(t, verr)
		for _, m := range append(mounts, views...) {
			info, err := os.Stat(m.Source)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o755), info.Mode().Perm())
		}
		require.NoError(t, s.Close())
	}
}
