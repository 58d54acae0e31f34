package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// files lists what is in a layout.
func filesIn(t *testing.T, dir string) (list []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	}))
	return list
}

func TestCopyLayout(t *testing.T) {
	ctx := t.Context()
	srv, other := registrytest.NewServer(t, nil), registrytest.NewServer(t, nil)
	r := open(t, srv)
	index, images := multi(t, r, "app:v1", "amd64", "arm64")
	sbom, err := r.Attach(ctx, "app@"+images[0].Digest.String(), "application/spdx+json", map[string][]byte{"sbom.json": []byte("{}")})
	require.NoError(t, err)
	sig, err := r.Attach(ctx, "app@"+sbom.Digest.String(), "application/x.signature", nil)
	require.NoError(t, err)
	cosign := "sha256-" + index.Digest.Encoded() + ".sig"
	signature, err := r.Resolve(ctx, "app@"+sig.Digest.String()) // any manifest will do
	require.NoError(t, err)
	require.NoError(t, r.Tag(ctx, "app:"+cosign, signature))
	dir := filepath.Join(t.TempDir(), "a, b", "layout")
	o := &registry.CopyOptions{Referrers: true}
	d, err := registry.Copy(ctx, srv.Host+"/app:v1", "oci:"+dir+":v1", o)
	require.NoError(t, err)
	require.Equal(t, index.Digest, d)

	// Others read it.
	skopeo, err := exec.LookPath("skopeo")
	require.NoError(t, err, "skopeo is missing: apt-get install skopeo")
	out, err := exec.CommandContext(ctx, skopeo, "inspect", "--raw", "oci:"+dir+":v1").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, index.Digest, digest.FromBytes(out))

	// From there to another layout, and to another registry, it is the same.
	second := filepath.Join(t.TempDir(), "second")
	d, err = registry.Copy(ctx, "oci:"+dir+":v1", "oci:"+second, o)
	require.NoError(t, err)
	require.Equal(t, index.Digest, d)
	for _, from := range []string{"oci:" + second, "oci:" + second + "@" + index.Digest.String()} {
		repo := fmt.Sprintf("/from%d:v1", len(from))
		d, err = registry.Copy(ctx, from, other.Host+repo, o)
		require.NoError(t, err)
		require.Equal(t, index.Digest, d)
		name := strings.TrimSuffix(repo[1:], ":v1")
		got, err := open(t, other).Resolve(ctx, name+":"+cosign)
		require.NoError(t, err)
		require.Equal(t, signature, got)
		about := all(t, open(t, other).Referrers(ctx, name+"@"+images[0].Digest.String(), ""))
		require.Equal(t, sbom.Digest, about[0].Digest)
		about = all(t, open(t, other).Referrers(ctx, name+"@"+sbom.Digest.String(), ""))
		require.Equal(t, sig.Digest, about[0].Digest)
	}
	before := filesIn(t, second)
	_, err = registry.Copy(ctx, "oci:"+dir+":v1", "oci:"+second, o)
	require.NoError(t, err)
	require.Equal(t, before, filesIn(t, second), "once more changes nothing")

	// Names move, and don't get in each other's way; one platform has its own digest.
	d, err = registry.Copy(ctx, "oci:"+dir+":v1", "oci:"+second+":arm", &registry.CopyOptions{Platforms: []string{"linux/arm64"}})
	require.NoError(t, err)
	require.Equal(t, images[1].Digest, d)
	_, err = registry.Copy(ctx, "oci:"+second, "oci:"+t.TempDir(), nil)
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	require.ErrorContains(t, err, "the layout has 2 images")
	_, err = registry.Copy(ctx, "oci:"+dir+":v1", "oci:"+second+":arm", &registry.CopyOptions{Platforms: []string{"linux/amd64"}})
	require.NoError(t, err)
	d, err = registry.Copy(ctx, "oci:"+second+":arm", other.Host+"/moved", nil)
	require.NoError(t, err)
	require.Equal(t, images[0].Digest, d)

	// What is not there leaves nothing.
	none := filepath.Join(t.TempDir(), "none")
	for from, class := range map[string]error{
		"oci:" + none:                                       errdefs.ErrNotFound,
		"oci:" + t.TempDir():                                errdefs.ErrNotFound,
		"oci:" + dir + ":v2":                                errdefs.ErrNotFound,
		"oci:" + dir + ":bad name":                          errdefs.ErrInvalidArgument,
		"oci:" + dir + ":v1\n":                              errdefs.ErrInvalidArgument,
		"oci:" + dir + ":v\n1":                              errdefs.ErrInvalidArgument,
		"oci:" + dir + "@" + none:                           errdefs.ErrNotFound,
		"oci:" + dir + "@" + digest.FromString("").String(): errdefs.ErrNotFound,
		srv.Host + "/none:v1":                               errdefs.ErrNotFound,
	} {
		_, err := registry.Copy(ctx, from, "oci:"+none, nil)
		require.ErrorIs(t, err, class, from)
		require.NoDirExists(t, none)
	}
}

// A manifest that could not be written is not listed.
func TestCopyLayoutUnwritten(t *testing.T) {
	ctx := t.Context()
	srv := registrytest.NewServer(t, nil)
	multi(t, open(t, srv), "app:v1", "amd64")
	dir := t.TempDir()
	d, err := registry.Copy(ctx, srv.Host+"/app:v1", "oci:"+dir+":v1", nil)
	require.NoError(t, err)
	blob := filepath.Join(dir, "blobs/sha256", d.Encoded())
	require.NoError(t, os.Remove(blob))
	require.NoError(t, os.MkdirAll(filepath.Join(blob, "in the way"), 0o755))
	_, err = registry.Copy(ctx, srv.Host+"/app:v1", "oci:"+dir+":v2", nil)
	require.Error(t, err)
	list, err := os.ReadFile(filepath.Join(dir, "index.json"))
	require.NoError(t, err)
	require.Contains(t, string(list), `"v1"`)
	require.NotContains(t, string(list), `"v2"`)
}

// A blob that is damaged, of whatever size, is written again, and what is in order is not.
func TestCopyLayoutDamaged(t *testing.T) {
	ctx := t.Context()
	srv := registrytest.NewServer(t, nil)
	multi(t, open(t, srv), "app:v1", "amd64")
	dir := t.TempDir()
	copied := func() (written int) {
		_, err := registry.Copy(ctx, srv.Host+"/app:v1", "oci:"+dir+":v1", &registry.CopyOptions{Progress: func(p registry.Progress) {
			if p.Done && !p.There {
				written++
			}
		}})
		require.NoError(t, err)
		return written
	}
	require.Equal(t, 2, copied())
	require.Zero(t, copied())
	for name, fault := range map[string]func(path string) error{
		"a bit":   flip,
		"cut off": func(path string) error { return os.Truncate(path, 3) },
		"zeros": func(path string) error {
			i, _ := os.Stat(path)
			return os.WriteFile(path, make([]byte, i.Size()), 0o600)
		},
		"a link":    func(path string) error { return errors.Join(os.Rename(path, path+"-"), os.Symlink(path+"-", path)) },
		"a fifo":    func(path string) error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) },
		"not there": os.Remove,
	} {
		blobs, err := filepath.Glob(filepath.Join(dir, "blobs/sha256/*"))
		require.NoError(t, err)
		for _, path := range blobs {
			require.NoError(t, fault(path))
		}
		require.Equal(t, 2, copied(), name)
		for _, path := range blobs {
			i, err := os.Lstat(path)
			require.NoError(t, err)
			require.True(t, i.Mode().IsRegular(), name)
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, filepath.Base(path), digest.FromBytes(b).Encoded(), name)
			_ = os.Remove(path + "-")
		}
	}
}

// flip changes one bit of a file.
func flip(path string) error {
	b, err := os.ReadFile(path)
	if err == nil {
		b[len(b)/2] ^= 1
		err = os.WriteFile(path, b, 0o600)
	}
	return err
}

// Several copies to one layout at a time.
func TestCopyLayoutAtOnce(t *testing.T) {
	ctx := t.Context()
	srv := registrytest.NewServer(t, nil)
	index, _ := multi(t, open(t, srv), "app:v1", "amd64", "arm64")
	dir := t.TempDir()
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			if _, err := registry.Copy(ctx, srv.Host+"/app:v1", fmt.Sprintf("oci:%s:v%d", dir, n), nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for n := range 8 {
		d, err := registry.Copy(ctx, fmt.Sprintf("oci:%s:v%d", dir, n), srv.Host+"/back", nil)
		require.NoError(t, err)
		require.Equal(t, index.Digest, d)
	}
	for _, name := range filesIn(t, dir) {
		require.NotContains(t, name, ".ctor-")
	}
}

// A layout may be anybody's.
func TestCopyLayoutHostile(t *testing.T) {
	ctx := t.Context()
	srv := registrytest.NewServer(t, nil)
	_, images := multi(t, open(t, srv), "app:v1", "amd64")
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
	blob := func(dir string, d digest.Digest) string { return filepath.Join(dir, "blobs", "sha256", d.Encoded()) }
	layerOf := func(dir string) string {
		var m ocispec.Manifest
		b, err := os.ReadFile(blob(dir, images[0].Digest))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(b, &m))
		return blob(dir, m.Layers[0].Digest)
	}
	for name, spoil := range map[string]func(dir string) string{
		"a blob that is a link out": func(dir string) string {
			require.NoError(t, os.Remove(layerOf(dir)))
			require.NoError(t, os.Symlink(secret, layerOf(dir)))
			return "escapes"
		},
		"a blob that is a fifo": func(dir string) string {
			require.NoError(t, os.Remove(layerOf(dir)))
			require.NoError(t, unix.Mkfifo(layerOf(dir), 0o600))
			return "no regular file"
		},
		"a blob that is another": func(dir string) string {
			i, err := os.Stat(layerOf(dir))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(layerOf(dir), make([]byte, i.Size()), 0o600))
			return "something else"
		},
		"a blob that is longer": func(dir string) string {
			require.NoError(t, os.Truncate(layerOf(dir), 1<<40))
			return "has 1099511627776 bytes"
		},
		"a huge manifest": func(dir string) string {
			b, err := json.Marshal(ocispec.Index{Manifests: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageManifest, Digest: images[0].Digest, Size: 1 << 40,
				Annotations: map[string]string{ocispec.AnnotationRefName: "v1"}}}})
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "index.json"), b, 0o600))
			return "larger than"
		},
		"a huge list": func(dir string) string {
			require.NoError(t, os.Truncate(filepath.Join(dir, "index.json"), 1<<40))
			return "more than"
		},
		"a list that is none": func(dir string) string {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "index.json"), []byte("{"), 0o600))
			return "index.json"
		},
		"a digest that leads out": func(dir string) string {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "index.json"), []byte(`{"manifests":[{"mediaType":"`+ocispec.MediaTypeImageManifest+
				`","digest":"../../secret:x","size":6,"annotations":{"`+ocispec.AnnotationRefName+`":"v1"}}]}`), 0o600))
			return "digest"
		},
		"another version": func(dir string) string {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"9"}`), 0o600))
			return "version"
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := registry.Copy(ctx, srv.Host+"/app:v1", "oci:"+dir+":v1", nil)
			require.NoError(t, err)
			want := spoil(dir)
			to := t.TempDir()
			_, err = registry.Copy(ctx, "oci:"+dir+":v1", "oci:"+to+":v1", nil)
			require.ErrorContains(t, err, want)
			_, err = registry.Copy(ctx, "oci:"+to+":v1", srv.Host+"/never", nil)
			require.ErrorIs(t, err, errdefs.ErrNotFound, "it got a name")
		})
	}
}

func TestCopyProgress(t *testing.T) {
	ctx := t.Context()
	srv := registrytest.NewServer(t, nil)
	multi(t, open(t, srv), "app:v1", "amd64", "arm64")
	dir := t.TempDir()
	for _, there := range []bool{false, true} {
		told := map[digest.Digest]registry.Progress{}
		_, err := registry.Copy(ctx, srv.Host+"/app:v1", "oci:"+dir+":v1", &registry.CopyOptions{Progress: func(p registry.Progress) {
			last := told[p.Blob]
			require.False(t, last.Done)
			require.GreaterOrEqual(t, p.Bytes, last.Bytes)
			require.LessOrEqual(t, p.Bytes, p.Total)
			told[p.Blob] = p
		}})
		require.NoError(t, err)
		require.Len(t, told, 4)
		for _, p := range told {
			require.True(t, p.Done)
			require.Equal(t, p.Total, p.Bytes)
			require.Equal(t, there, p.There)
		}
	}
	canceled, cancel := context.WithCancel(ctx)
	none := t.TempDir()
	_, err := registry.Copy(canceled, srv.Host+"/app:v1", "oci:"+none+":v1", &registry.CopyOptions{Progress: func(registry.Progress) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	for _, name := range filesIn(t, none) {
		require.NotContains(t, name, ".ctor-")
		require.NotEqual(t, "index.json", name)
	}
}
