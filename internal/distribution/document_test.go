package distribution

import (
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	d := "sha256:" + strings.Repeat("a", 64)
	doc, err := Parse(fmt.Appendf(nil, `{"config":{"mediaType":"a/b","digest":%q,"size":1},"layers":[{"digest":%[1]q,"size":2}],"subject":{"digest":%[1]q},"annotations":{"k":"v"}}`, d))
	require.NoError(t, err)
	require.Equal(t, "a/b", doc.ArtifactType)
	require.Len(t, doc.Blobs, 2)
	require.NotNil(t, doc.Subject)
	require.Equal(t, "application/vnd.oci.image.manifest.v1+json", doc.Type())
	doc, err = Parse([]byte(`{"manifests":[]}`))
	require.NoError(t, err)
	require.Equal(t, "application/vnd.oci.image.index.v1+json", doc.Type())

	for name, body := range map[string]string{
		"nothing":         ``,
		"no object":       `[]`,
		"no JSON":         `{`,
		"wrong types":     `{"layers":{}}`,
		"schema 1":        `{"schemaVersion":1,"fsLayers":[]}`,
		"no digest":       `{"layers":[{"digest":"","size":1}]}`,
		"a path":          `{"layers":[{"digest":"sha256:../../etc/passwd","size":1}]}`,
		"unknown":         `{"layers":[{"digest":"md5:d41d8cd98f00b204e9800998ecf8427e","size":1}]}`,
		"negative":        `{"layers":[{"digest":"` + d + `","size":-1}]}`,
		"huge":            `{"layers":[{"digest":"` + d + `","size":1e300}]}`,
		"a long type":     `{"layers":[{"mediaType":"` + strings.Repeat("a", 300) + `","digest":"` + d + `","size":1}]}`,
		"bad subject":     `{"subject":{"digest":"x"}}`,
		"a thousand more": `{"layers":[` + strings.Repeat(`{"digest":"`+d+`","size":1},`, 1000) + `{"digest":"` + d + `","size":1}]}`,
		"deep":            strings.Repeat(`{"a":`, 100_000),
	} {
		_, err := Parse([]byte(body))
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, name)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"mediaType":"a/b","manifests":[{"digest":"sha256:0","size":0}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		doc, err := Parse(b)
		if err != nil {
			return
		}
		for _, d := range append(doc.Blobs, doc.Manifests...) {
			if d.Digest.Validate() != nil || d.Size < 0 {
				t.Fatalf("%+v", d)
			}
		}
	})
}
