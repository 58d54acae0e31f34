package image_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/layer"
)

func TestNew(t *testing.T) {
	t.Parallel()
	cfg := ocispec.ImageConfig{Cmd: []string{"/bin/busybox", "echo", "hello"}, Env: []string{"A=1"}}
	var digests []digest.Digest
	for range 2 {
		e := open(t)
		img, err := image.New(t.Context(), e, "hello", cfg, fixture.BusyboxLayer(t), text("x", "x"))
		require.NoError(t, err)
		require.Equal(t, "docker.io/library/hello:latest", img.Ref())
		require.Equal(t, img.Digest(), img.Index())
		require.Equal(t, cfg, img.Spec().Config)
		require.Equal(t, native, img.Spec().Platform)
		require.Nil(t, img.Spec().Created)
		require.Equal(t, "hello\n", output(t, img))
		digests = append(digests, img.Digest())
	}
	require.Equal(t, digests[0], digests[1], "the same in every engine")
}

func TestNewWithoutLayers(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	img, err := image.New(t.Context(), e, "scratch-image", ocispec.ImageConfig{})
	require.NoError(t, err)
	layers, err := img.Layers(t.Context())
	require.NoError(t, err)
	require.Empty(t, layers)
	list, err := image.Import(t.Context(), open(t), stream(export(t, img)))
	require.NoError(t, err)
	require.Equal(t, img.Digest(), list[0].Digest())
	// It can be the base of others.
	grown, err := img.Derive(t.Context(), "grown", func(c *ocispec.ImageConfig) { c.Cmd = []string{"/bin/true"} }, fixture.BusyboxLayer(t))
	require.NoError(t, err)
	require.Empty(t, output(t, grown))
}

// Equal layers in many calls at once get in nobody's way.
func TestNewAtOnce(t *testing.T) {
	t.Parallel()
	e := open(t)
	l := text("same", strings.Repeat("same", 100_000))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			img, err := image.New(t.Context(), e, "same", ocispec.ImageConfig{}, l, l)
			if err == nil {
				_, err = image.Get(t.Context(), e, img.Ref())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	r := remains(t, e)
	require.Len(t, r["content"], 3, "a layer, a configuration, a manifest")
	require.Empty(t, r["ingests"])
	require.Empty(t, r["leases"])
}

func TestNewFails(t *testing.T) {
	t.Parallel()
	e := open(t)
	broken := errors.New("broken disk")
	content := []byte("some content")
	changing, err := layer.FromTar(func() (io.ReadCloser, error) {
		content = append(content, ' ')
		return io.NopCloser(bytes.NewReader(tarOf(t, file("x", string(content))))), nil
	})
	require.NoError(t, err)
	opened := false
	failing, err := layer.FromTar(func() (io.ReadCloser, error) {
		tar := bytes.NewReader(tarOf(t, file("x", strings.Repeat("x", 100_000))))
		if !opened {
			opened = true
			return io.NopCloser(tar), nil
		}
		return io.NopCloser(io.MultiReader(io.LimitReader(tar, 50_000), iotest.ErrReader(broken))), nil
	})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		l    layer.Layer
		is   error
		says string
	}{
		"zero layer":     {layer.Layer{}, ctor.ErrInvalid, "layer 1: layer: the zero Layer holds nothing"},
		"failed FromFS":  {layer.FromFS(fstest.MapFS{"x": {Mode: fs.ModeDevice}}, nil), ctor.ErrInvalid, "layer 1: layer: from fs: x: "},
		"changing layer": {changing, nil, "the content has digest"},
		"failing layer":  {failing, broken, "broken disk"},
	} {
		t.Run(name, func(t *testing.T) {
			unchanged(t, e, func() {
				_, err := image.New(t.Context(), e, "app", ocispec.ImageConfig{}, text("y", "y"), c.l)
				require.ErrorContains(t, err, `new image "app": `)
				require.ErrorContains(t, err, c.says)
				if c.is != nil {
					require.ErrorIs(t, err, c.is)
				}
			})
		})
	}
	unchanged(t, e, func() {
		ctx, cancel := context.WithCancel(t.Context())
		stuck := &slow{Reader: bytes.NewReader(tarOf(t, file("x", "x"))), first: true, read: cancel}
		l, err := layer.FromTar(func() (io.ReadCloser, error) {
			r := *stuck
			stuck.first = false
			return &r, nil
		})
		require.NoError(t, err)
		_, err = image.New(ctx, e, "app", ocispec.ImageConfig{}, l)
		require.ErrorIs(t, err, context.Canceled)
	})
}

// slow ends the context when it is read a second time.
type slow struct {
	io.Reader
	first bool
	read  func()
}

func (s *slow) Read(p []byte) (int, error) {
	if !s.first {
		s.read()
	}
	return s.Reader.Read(p)
}
func (*slow) Close() error { return nil }

// What of the caller's panics within a call leaves nothing.
func TestPanics(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	e := open(t)
	img := fixture.Busybox(t, e)
	c := containertest.Run(t, img, sleeping)
	opened := false
	failing, err := layer.FromTar(func() (io.ReadCloser, error) {
		tar := bytes.NewReader(tarOf(t, file("x", strings.Repeat("x", 100_000))))
		if !opened {
			opened = true
			return io.NopCloser(tar), nil
		}
		return io.NopCloser(io.MultiReader(io.LimitReader(tar, 50_000), panics{})), nil
	})
	require.NoError(t, err)
	for name, call := range map[string]func(){
		"layer": func() { _, _ = img.Derive(t.Context(), "panics", nil, failing) },
		"edit":  func() { _, _ = img.Derive(t.Context(), "panics", func(*ocispec.ImageConfig) { panic("boom") }) },
		"commit": func() {
			_, _ = image.Commit(t.Context(), c, "panics", &image.CommitOptions{Edit: func(*ocispec.ImageConfig) { panic("boom") }})
		},
	} {
		unchanged(t, e, func() {
			require.PanicsWithValue(t, "boom", call, name)
			cs := e.Containerd().ContentStore()
			all, err := cs.ListStatuses(e.Context(t.Context()))
			require.NoError(t, err)
			require.Empty(t, all, name)
		})
		require.Equal(t, container.Running, state(t, c))
	}
}

type panics struct{}

func (panics) Read([]byte) (int, error) { panic("boom") }

// A configuration is JSON, so what is not UTF-8 can't be in one as it is.
func TestNewNotText(t *testing.T) {
	t.Parallel()
	e := open(t)
	img := fixture.Busybox(t, e)
	for name, edit := range map[string]func(*ocispec.ImageConfig){
		"argument": func(c *ocispec.ImageConfig) { c.Cmd = []string{"caf\xe9"} },
		"variable": func(c *ocispec.ImageConfig) { c.Env = []string{"A=\xff"} },
		"dir":      func(c *ocispec.ImageConfig) { c.WorkingDir = "/caf\xe9" },
		"label":    func(c *ocispec.ImageConfig) { c.Labels = map[string]string{"\xff": ""} },
	} {
		unchanged(t, e, func() {
			_, err := img.Derive(t.Context(), "not-text", edit)
			require.ErrorIs(t, err, ctor.ErrInvalid, name)
			require.ErrorContains(t, err, "a string is not UTF-8", name)
			_, err = image.New(t.Context(), e, "not-text", func() (c ocispec.ImageConfig) { edit(&c); return c }())
			require.ErrorIs(t, err, ctor.ErrInvalid, name)
		})
	}
	meant, err := img.Derive(t.Context(), "meant", func(c *ocispec.ImageConfig) { c.Cmd = []string{"\ufffd", `\ufffd`, "caf\u00e9"} })
	require.NoError(t, err)
	require.Equal(t, []string{"\ufffd", `\ufffd`, "caf\u00e9"}, meant.Spec().Config.Cmd)
}

func TestDerive(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	base := fixture.Busybox(t, e)
	was := base.Spec()
	img, err := base.Derive(t.Context(), "derived", func(c *ocispec.ImageConfig) {
		c.Env = append(c.Env, "MORE=yes")
		c.Env[1] = "FROM_IMAGE=no"
		c.Labels = map[string]string{"a": "b"}
		c.Cmd = []string{"sh", "-c", "echo $FROM_IMAGE $MORE; cat /etc/motd; test -k /tmp && ls /bin/busybox"}
	},
		text("etc/motd", "old\n"),
		layer.FromFS(fstest.MapFS{"motd": {Data: []byte("new\n"), Mode: 0o644}}, &layer.Options{Prefix: "etc"}),
		layer.FromFS(fstest.MapFS{"file": {}}, &layer.Options{Prefix: "tmp"}))
	require.NoError(t, err)
	require.Equal(t, "no yes\nnew\n/bin/busybox\n", output(t, img))
	require.Equal(t, was, base.Spec(), "the base is what it was")
	require.Equal(t, "yes\n", output(t, base, "sh", "-c", "echo $FROM_IMAGE $MORE"))

	same, err := base.Derive(t.Context(), "same-as-base", nil)
	require.NoError(t, err)
	require.Equal(t, base.Digest(), same.Digest(), "a class with nothing new is the same class")

	spec := img.Spec()
	spec.Config.Env[0] = "changed"
	require.NotEqual(t, spec, img.Spec(), "Spec is a copy")

	// An image may replace itself.
	again, err := img.Derive(t.Context(), img.Ref(), nil, text("x", "x"))
	require.NoError(t, err)
	got, err := image.Get(t.Context(), e, img.Ref())
	require.NoError(t, err)
	require.Equal(t, again.Digest(), got.Digest())
	require.NotEqual(t, img.Digest(), got.Digest())
}

// What Docker has in a configuration beside OCI's is kept.
func TestDeriveKeepsHealthcheck(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	r := rawImage(t, native, nil, tarOf(t, file("x", "x")))
	config := bytes.Replace(r.blobs[0].data, []byte(`"Cmd"`), []byte(`"Healthcheck":{"Test":["CMD","x"],"Interval":5},"Shell":["/bin/ash"],"Cmd"`), 1)
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{r.blobs[1].Descriptor}}
	m.SchemaVersion = 2
	r.blobs[0] = newBlob(ocispec.MediaTypeImageConfig, config)
	m.Config = r.blobs[0].Descriptor
	r.manifest = jsonBlob(t, m.MediaType, m)
	list, err := image.Import(t.Context(), e, stream(layoutOf(t, "checked:latest", r)))
	require.NoError(t, err)
	img, err := list[0].Derive(t.Context(), "checked-more", nil, text("y", "y"))
	require.NoError(t, err)
	data := string(export(t, img))
	require.Contains(t, data, `"Healthcheck":{"Test":["CMD","x"],"Interval":5}`)
	require.Contains(t, data, `"Shell":["/bin/ash"]`)
	require.Equal(t, []string{"/x"}, img.Spec().Config.Cmd)
	// Without a history in the base, the new line is still the new layer's.
	layers, err := img.Layers(t.Context())
	require.NoError(t, err)
	require.Equal(t, "add y", layers[1].CreatedBy)
}

func TestLayers(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	base := fixture.Busybox(t, e)
	one, two := text("one", "1"), text("two", "2")
	img, err := base.Derive(t.Context(), "layers", nil, one, two)
	require.NoError(t, err)
	layers, err := img.Layers(t.Context())
	require.NoError(t, err)
	require.Len(t, layers, 3)
	for n, want := range []layer.Layer{fixture.BusyboxLayer(t), one, two} {
		got := layers[n]
		require.Equal(t, want.DiffID, got.DiffID)
		require.Equal(t, want.CreatedBy, got.CreatedBy)
		require.Equal(t, ocispec.MediaTypeImageLayerGzip, got.MediaType)
		require.NotEqual(t, got.DiffID, got.Digest)
		require.Equal(t, read(t, want), read(t, got))
	}
	files, err := layers[1].FS(t.Context())
	require.NoError(t, err)
	data, err := fs.ReadFile(files, "one")
	require.NoError(t, err)
	require.Equal(t, "1", string(data))

	// Layers of one image in another are the same blobs.
	squashed, err := image.New(t.Context(), e, "layers-again", ocispec.ImageConfig{}, layers...)
	require.NoError(t, err)
	again, err := squashed.Layers(t.Context())
	require.NoError(t, err)
	for n := range layers {
		require.Equal(t, layers[n].Digest, again[n].Digest)
	}
	// In another engine they are not there, and are made again.
	other, err := image.New(t.Context(), open(t), "layers-again", ocispec.ImageConfig{}, layers...)
	require.NoError(t, err)
	require.Equal(t, "1", output(t, other, "cat", "/one"))
}

// A layer that is not what the configuration says is noticed by who reads it,
// and can't be run.
func TestLayersVerify(t *testing.T) {
	t.Parallel()
	e := open(t)
	bad := rawImage(t, native, func(_ *ocispec.Manifest, c *ocispec.Image) { c.RootFS.DiffIDs[0] = digest.FromString("x") }, tarOf(t, file("x", "x")))
	list, err := image.Import(t.Context(), e, stream(layoutOf(t, "bad:latest", bad)))
	require.NoError(t, err)
	layers, err := list[0].Layers(t.Context())
	require.NoError(t, err)
	rc, err := layers[0].Open(t.Context())
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, rc)
	require.ErrorContains(t, err, "the content has digest")
	require.NoError(t, rc.Close())
	unchanged(t, e, func() {
		_, err = list[0].New(t.Context(), container.Config{})
		require.ErrorContains(t, err, "wrong diff id")
	})
	_, err = list[0].Derive(t.Context(), "worse", nil, text("y", "y"))
	require.NoError(t, err)
}

// A history that is longer or shorter than the layers tells nothing of them.
func TestLayersHostileHistory(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	for name, h := range map[string][]ocispec.History{
		"none":  nil,
		"long":  make([]ocispec.History, 10_000),
		"empty": {{CreatedBy: "ENV", EmptyLayer: true}, {CreatedBy: "\x1b[31mred\x00", EmptyLayer: true}},
	} {
		r := rawImage(t, native, func(_ *ocispec.Manifest, c *ocispec.Image) {
			c.History = h
			c.Config.Labels = map[string]string{"": "", "containerd.io/gc.root": "x", strings.Repeat("k", 10_000): "v", "io.ctor.owner": "x"}
		}, tarOf(t, file("x", "x")))
		list, err := image.Import(t.Context(), e, stream(layoutOf(t, "history-"+name+":v1", r)))
		require.NoError(t, err)
		layers, err := list[0].Layers(t.Context())
		require.NoError(t, err)
		require.Empty(t, layers[0].CreatedBy)
		img, err := list[0].Derive(t.Context(), "history-more-"+name, nil, text("y", "y"))
		require.NoError(t, err)
		b, err := json.Marshal(img.Spec())
		require.NoError(t, err)
		require.Contains(t, string(b), "add y")
	}
}
