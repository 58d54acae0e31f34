package image_test

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
)

// unpacked has e unpack an image, and gives its layer's tar.
func unpacked(t *testing.T, e *ctor.Engine) []byte {
	t.Helper()
	tar := tarOf(t, file("x", "honest"))
	i, err := imported(t, e, rawImage(t, native, nil, tar)).Tag(t.Context(), "ctor.test/honest:1")
	require.NoError(t, err)
	files(t, i)
	return tar
}

// of is an image of a layer whose configuration says that it is tar.
func of(t *testing.T, tar []byte, layer blob) raw {
	config := ocispec.Image{Platform: native, Config: ocispec.ImageConfig{Cmd: []string{"/x"}}, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(tar)}}}
	return rawOf(t, config, nil, layer)
}

// polyglot is a tar of one file, and to gzip a tar of another: the first header is
// in a field of gzip's that says nothing, and so is the beginning of the file.
func polyglot(t *testing.T) []byte {
	packed := gzipped(t, tarOf(t, file("x", "inside")))
	require.Equal(t, []byte{0x1f, 0x8b, 8, 0}, packed[:4], "without such a field yet")
	fill := (512 - (len(packed)-10)%512) % 512
	both := tarOf(t, file("x", string(make([]byte, fill))+string(packed[10:])))
	both = both[:512+fill+len(packed)-10] // a tar needs no end, and gzip wants none
	copy(both, packed[:10])
	both[3] = 4 // FEXTRA
	binary.LittleEndian.PutUint16(both[10:], uint16(512-12+fill))
	// The sum of the header, with spaces in its own place.
	sum := 0
	copy(both[148:156], "        ")
	for _, c := range both[:512] {
		sum += int(c)
	}
	copy(both[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return both
}

// asCalled leaves what a containerd does that takes a blob for what it is called: a
// layer by the digest of its tar, and the blob's label.
func asCalled(t *testing.T, e *ctor.Engine, tar []byte) {
	t.Helper()
	ctx, d := e.Context(t.Context()), digest.FromBytes(tar)
	sn := e.Containerd().SnapshotService(e.Snapshotter())
	root := snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "test"})
	_, err := sn.Prepare(ctx, "as called", "", root)
	require.NoError(t, err)
	require.NoError(t, sn.Commit(ctx, d.String(), "as called", root))
	cs := e.Containerd().ContentStore()
	_, err = cs.Update(ctx, content.Info{Digest: d, Labels: map[string]string{labels.LabelUncompressed: d.String()}}, "labels."+labels.LabelUncompressed)
	require.NoError(t, err)
}

// An image that says of its layers that they are those of another one, which are
// unpacked: what it runs and shows would not be what it holds, and what is handed
// on. Pull refuses it, and after Import whatever would use them.
func TestBorrowedLayers(t *testing.T) {
	t.Parallel()
	e := open(t)
	honest := unpacked(t, e)
	evil := tarOf(t, file("x", "evil"))
	both := polyglot(t)
	tar, err := imported(t, e, of(t, both, newBlob(ocispec.MediaTypeImageLayer, both))).Tag(t.Context(), "ctor.test/both:1")
	require.NoError(t, err)
	unpack, err := e.Containerd().GetImage(e.Context(t.Context()), tar.Ref())
	require.NoError(t, err)
	require.ErrorContains(t, unpack.Unpack(e.Context(t.Context()), e.Snapshotter()), "wrong diff id", "what begins as gzip is gzip")
	asCalled(t, e, both)
	for name, r := range map[string]raw{
		"gzip":  of(t, honest, newBlob(ocispec.MediaTypeImageLayerGzip, gzipped(t, evil))),
		"zstd":  of(t, honest, newBlob(ocispec.MediaTypeImageLayerZstd, zstandard(t, evil))),
		"plain": of(t, honest, newBlob(ocispec.MediaTypeImageLayer, evil)),
		// A tar that is unpacked as one image says, and then listed as compressed.
		"both":    of(t, both, newBlob(ocispec.MediaTypeImageLayerGzip, both)),
		"no gzip": of(t, honest, newBlob(ocispec.MediaTypeImageLayerGzip, append(gzipped(t, honest)[:20], "damaged"...))),
	} {
		t.Run(name, func(t *testing.T) {
			i := imported(t, e, r)
			for range 2 {
				_, err := i.FS(t.Context())
				require.ErrorIs(t, err, ctor.ErrInvalid)
				require.ErrorContains(t, err, "layer sha256:")
				_, err = i.New(t.Context(), container.Config{})
				require.ErrorIs(t, err, ctor.ErrInvalid)
			}
			_, err := i.Command(t.Context(), "/x").Output()
			require.ErrorIs(t, err, ctor.ErrInvalid)
			require.NoError(t, i.Remove(t.Context()))
			_, ref := serve(t, r)
			unchanged(t, e, func() {
				_, err = image.Pull(t.Context(), e, ref, nil)
				require.ErrorIs(t, err, ctor.ErrInvalid)
			})
		})
	}
}

// The same layer compressed in another way is as good. That is found out once,
// and then known, also to the next program.
func TestVerifiedOnce(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	open := func() *ctor.Engine {
		e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
		require.NoError(t, err)
		return e
	}
	e := open()
	honest := unpacked(t, e)
	other := newBlob(ocispec.MediaTypeImageLayerZstd, zstandard(t, honest))
	i := imported(t, e, of(t, honest, other))
	label := func() string {
		info, err := e.Containerd().ContentStore().Info(e.Context(t.Context()), other.Digest)
		require.NoError(t, err)
		return info.Labels[labels.LabelUncompressed]
	}
	require.Empty(t, label())
	b, err := fs.ReadFile(files(t, i), "x")
	require.NoError(t, err)
	require.Equal(t, "honest", string(b))
	require.Equal(t, digest.FromBytes(honest).String(), label())
	require.NoError(t, e.Close())

	e = open()
	defer func() { require.NoError(t, e.Close()) }()
	i, err = image.Get(t.Context(), e, i.Ref())
	require.NoError(t, err)
	require.Equal(t, digest.FromBytes(honest).String(), label())
	f, err := i.FS(t.Context())
	require.NoError(t, err)
	require.NoError(t, f.Close())
}
