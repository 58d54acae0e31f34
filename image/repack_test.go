package image_test

import (
	"archive/tar"
	"encoding/json"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
)

// TestImportRepacked: an archive of `docker save` that somebody unpacked and
// packed again.
func TestImportRepacked(t *testing.T) {
	t.Parallel()
	l := tarOf(t, file("f", "f"))
	config, err := json.Marshal(ocispec.Image{Platform: native, Config: ocispec.ImageConfig{Cmd: []string{"/x"}},
		RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(l), digest.FromBytes(l)}}})
	require.NoError(t, err)
	list := func(before string) tar.Header {
		return file("manifest.json", `[{"Config":"`+before+`c.json","RepoTags":["x.test/x:t"],"Layers":["`+before+`a/layer.tar","`+before+`b/layer.tar"]}]`)
	}
	link := func(typ byte, name, to string) tar.Header {
		return tar.Header{Typeflag: typ, Name: name, Linkname: to}
	}
	c, a := file("c.json", string(config)), file("a/layer.tar", string(l))
	dot := func(h tar.Header) tar.Header { h.Name = "./" + h.Name; return h }
	for name, files := range map[string][]tar.Header{
		"link, names with ./":       {dot(a), link(tar.TypeSymlink, "./b/layer.tar", "../a/layer.tar"), dot(c), dot(list(""))},
		"hard link":                 {a, link(tar.TypeLink, "b/layer.tar", "a/layer.tar"), c, list("")},
		"hard link with ./":         {a, link(tar.TypeLink, "./b/layer.tar", "./a/layer.tar"), c, list("")},
		"link before its file":      {link(tar.TypeSymlink, "b/layer.tar", "../a/layer.tar"), list(""), a, c},
		"link to a link":            {a, c, list(""), link(tar.TypeSymlink, "b/layer.tar", "../d/e"), link(tar.TypeLink, "d/e", "a/layer.tar")},
		"./ inside":                 {a, file("b/layer.tar", string(l)), c, list("./")},
		"link to what is not there": {a, link(tar.TypeSymlink, "d", "none"), file("b/layer.tar", string(l)), c, list("")},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := image.Import(t.Context(), open(t), stream(tarOf(t, files...)))
			require.NoError(t, err)
			require.Equal(t, "x.test/x:t", got[0].Ref())
			layers, err := got[0].Layers(t.Context())
			require.NoError(t, err)
			require.Equal(t, l, read(t, layers[1]))
		})
	}
	e := open(t)
	for name, files := range map[string][]tar.Header{
		"links in a circle": {a, c, list(""), link(tar.TypeSymlink, "b/layer.tar", "../d"), link(tar.TypeSymlink, "d", "b/layer.tar")},
		"link out":          {a, c, list(""), link(tar.TypeSymlink, "b/layer.tar", "../../../../etc/passwd")},
		"no list":           {a, c, file("manifest.json", "{")},
	} {
		unchanged(t, e, func() {
			_, err := image.Import(t.Context(), e, stream(tarOf(t, files...)))
			require.ErrorIs(t, err, ctor.ErrInvalid, name)
		})
	}
}

// TestImportSHA512: the parts of a layout may be known by another algorithm, and
// must then be what that says.
func TestImportSHA512(t *testing.T) {
	t.Parallel()
	l := tarOf(t, file("f", "f"))
	big := func(b blob) blob { b.Digest = digest.SHA512.FromBytes(b.data); return b }
	part := big(newBlob(ocispec.MediaTypeImageLayerGzip, gzipped(t, l)))
	config := big(jsonBlob(t, ocispec.MediaTypeImageConfig, ocispec.Image{Platform: native, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(l)}}}))
	r := rawOf(t, ocispec.Image{}, func(m *ocispec.Manifest, _ *ocispec.Image) { m.Config = config.Descriptor }, part)
	pack := func(layer []byte) []byte {
		headers := []tar.Header{file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`),
			file("blobs/sha512/"+part.Digest.Encoded(), string(layer)),
			file("blobs/sha512/"+config.Digest.Encoded(), string(config.data)),
			file("blobs/sha256/"+r.manifest.Digest.Encoded(), string(r.manifest.data)),
			file("index.json", string(jsonBlob(t, "", ocispec.Index{Manifests: []ocispec.Descriptor{r.manifest.Descriptor}}).data))}
		return tarOf(t, headers...)
	}
	list, err := image.Import(t.Context(), open(t), stream(pack(part.data)))
	require.NoError(t, err)
	layers, err := list[0].Layers(t.Context())
	require.NoError(t, err)
	require.Equal(t, part.Digest, layers[0].Digest)
	require.Equal(t, l, read(t, layers[0]))

	e := open(t)
	unchanged(t, e, func() {
		_, err = image.Import(t.Context(), e, stream(pack([]byte("other"))))
		require.ErrorIs(t, err, ctor.ErrInvalid)
	})
}

// TestImportWithSignature: what is about an image, beside it in a layout, is none.
func TestImportWithSignature(t *testing.T) {
	t.Parallel()
	img := rawImage(t, native, nil, tarOf(t, file("x", "x")))
	simple := newBlob("application/vnd.dev.cosign.simplesigning.v1+json", []byte(`{"critical":{}}`))
	about := rawOf(t, ocispec.Image{}, func(m *ocispec.Manifest, _ *ocispec.Image) { m.Subject = &img.manifest.Descriptor }, simple)
	list, err := image.Import(t.Context(), open(t), stream(layoutOf(t, "x.test/x:t", about, img)))
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, img.manifest.Digest, list[0].Digest())

	cosign := rawOf(t, ocispec.Image{}, nil, simple)
	tag := "sha256-" + img.manifest.Digest.Encoded() + ".sig"
	_, err = image.Import(t.Context(), containertest.Engine(t), stream(layoutOf(t, tag, cosign)))
	require.ErrorContains(t, err, "holds no image")
	_, err = image.Import(t.Context(), containertest.Engine(t), stream(layoutOf(t, "x.test/x:t", cosign)))
	require.ErrorContains(t, err, "it is no image")
}
