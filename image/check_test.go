package image_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// fileOf is the file that the store has some content in.
func fileOf(t testing.TB, e *ctor.Engine, d digest.Digest) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(e.Root(), "containerd/*content/blobs", d.Algorithm().String(), d.Encoded()))
	require.NoError(t, err)
	require.Len(t, found, 1)
	return found[0]
}

// The ways in which a disk fails.
var faults = map[string]func(t testing.TB, path string){
	"its content has digest": func(t testing.TB, path string) {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		b[len(b)/2] ^= 1
		require.NoError(t, os.WriteFile(path, b, 0o600))
	},
	"not ": func(t testing.TB, path string) { require.NoError(t, os.Truncate(path, 5)) },
	"it is missing": func(t testing.TB, path string) {
		require.NoError(t, os.Remove(path))
	},
}

func layerOf(t testing.TB, img *image.Image, n int) digest.Digest {
	t.Helper()
	layers, err := img.Layers(t.Context())
	require.NoError(t, err)
	return layers[n].Digest
}

// configOf is the digest of an image's configuration, by what its registry has.
func configOf(t testing.TB, img *image.Image) digest.Digest {
	t.Helper()
	r, err := registry.New(strings.Split(img.Ref(), "/")[0], nil)
	require.NoError(t, err)
	repo, _, _ := strings.Cut(strings.SplitN(img.Ref(), "/", 2)[1], ":")
	d, err := r.Resolve(t.Context(), repo+"@"+img.Digest().String())
	require.NoError(t, err)
	b, err := r.Read(t.Context(), repo, d)
	require.NoError(t, err)
	var m ocispec.Manifest
	require.NoError(t, json.Unmarshal(b, &m))
	return m.Config.Digest
}

func TestCheckAndRepair(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	srv := registrytest.NewServer(t, nil)
	made, err := image.New(ctx, open(t), "made", ocispec.ImageConfig{}, text("below", "below"), text("hello", "hello"))
	require.NoError(t, err)
	ref := srv.Host + "/app:v1"
	require.NoError(t, made.Push(ctx, ref, nil))
	e := open(t)
	img, err := image.Pull(ctx, e, ref, nil)
	require.NoError(t, err)
	other, err := img.Tag(ctx, "other:v1")
	require.NoError(t, err)
	local, err := image.New(ctx, e, srv.Host+"/local:v1", ocispec.ImageConfig{}, text("local", "local"))
	require.NoError(t, err)
	come := int64(0)
	damage, err := image.Check(ctx, e, &image.CheckOptions{Progress: func(n, total int64) {
		require.LessOrEqual(t, n, total)
		require.Greater(t, n, come)
		come = n
	}})
	require.NoError(t, err)
	require.Empty(t, damage)
	require.Positive(t, come)

	all := map[string]digest.Digest{
		"manifest": img.Digest(), "configuration": configOf(t, img), "layer": layerOf(t, img, 0), "last layer": layerOf(t, img, 1),
	}
	for problem, fault := range faults {
		for what, d := range all {
			fault(t, fileOf(t, e, d))
			damage, err := image.Check(ctx, e, nil)
			require.NoError(t, err)
			require.Len(t, damage, 1, "%s: %s", what, problem)
			require.Equal(t, d, damage[0].Digest)
			require.Contains(t, damage[0].String(), problem)
			require.Equal(t, problem == "it is missing", damage[0].Missing)
			require.Equal(t, []string{img.Ref(), other.Ref()}, damage[0].Images)
			srv.ResetRequests()
			before := remains(t, e)
			require.NoError(t, image.Repair(ctx, e, nil, only(damage[0], img.Ref())), "%s: %s", what, problem)
			for _, r := range srv.Requests() {
				require.Contains(t, r.Path, d.String(), "just that")
			}
			before.Same(t, func() fixture.Remains { return remains(t, e) })
			damage, err = image.Check(ctx, e, nil)
			require.NoError(t, err)
			require.Empty(t, damage, "%s: %s", what, problem)
		}
	}
	layers, err := img.Layers(ctx)
	require.NoError(t, err)
	for _, l := range layers {
		read(t, l)
	}
	export(t, img)

	// What can't be mended stays as it is, and is told of.
	spoil, bad := faults["its content has digest"], layerOf(t, local, 0)
	spoil(t, fileOf(t, e, bad))
	spoil(t, fileOf(t, e, layerOf(t, img, 1)))
	damage, err = image.Check(ctx, e, nil)
	require.NoError(t, err)
	require.Len(t, damage, 2)
	unchanged(t, e, func() {
		for n := range damage {
			damage[n].Images = damage[n].Images[:1] // not of Docker Hub
		}
		srv.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Corrupt))
		err = image.Repair(ctx, e, nil, damage...)
		require.ErrorIs(t, err, registry.ErrDigest)
		require.ErrorIs(t, err, ctor.ErrNotFound)
		require.ErrorContains(t, err, bad.String())
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		require.ErrorIs(t, image.Repair(canceled, e, nil, damage...), context.Canceled)
		_, err := image.Check(canceled, e, nil)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, image.Repair(ctx, e, nil, image.Damage{Digest: bad}), ctor.ErrNotFound)
	})
	srv.SetMiddleware(nil)
	require.Error(t, image.Repair(ctx, e, nil, damage...))
	damage, err = image.Check(ctx, e, nil)
	require.NoError(t, err)
	require.Len(t, damage, 1, "the other was mended all the same")

	// The labels that keep things are as they were: nothing stays.
	for _, i := range []*image.Image{img, other, local} {
		require.NoError(t, i.Remove(ctx))
	}
	collect(t, e)
	require.Empty(t, remains(t, e)["content"])
}

func only(d image.Damage, ref string) image.Damage {
	d.Images = []string{ref}
	return d
}

// Whenever a Repair is cut off, what was damaged is there, mended or not.
func TestRepairCutOff(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	srv := registrytest.NewServer(t, nil)
	made, err := image.New(ctx, open(t), "made", ocispec.ImageConfig{}, text("hello", "hello"))
	require.NoError(t, err)
	ref := srv.Host + "/app:v1"
	require.NoError(t, made.Push(ctx, ref, nil))
	e := open(t)
	img, err := image.Pull(ctx, e, ref, nil)
	require.NoError(t, err)
	d := layerOf(t, img, 0)
	const rounds = 30
	var whole time.Duration
	for n := rounds; n >= 0; n-- {
		faults["its content has digest"](t, fileOf(t, e, d))
		damage, err := image.Check(ctx, e, nil)
		require.NoError(t, err)
		limit := fixture.Patience
		if n < rounds {
			limit = whole * time.Duration(n) / rounds
		}
		began := time.Now()
		cut, cancel := context.WithTimeout(ctx, limit)
		err = image.Repair(cut, e, nil, damage...)
		cancel()
		if n == rounds {
			require.NoError(t, err)
			whole = time.Since(began)
		}
		after, cerr := image.Check(ctx, e, nil)
		require.NoError(t, cerr)
		for _, a := range after {
			require.False(t, a.Missing, "%v", err)
		}
		if len(after) == 0 {
			continue
		}
		require.Error(t, err)
		require.NoError(t, image.Repair(ctx, e, nil, after...))
	}
}

// Of an image of several platforms, those that were never there are not missing.
func TestCheckIndex(t *testing.T) {
	t.Parallel()
	_, ref := serve(t, indexOf(t, []raw{rawImage(t, native, nil, tarOf(t, file("x", "1"))), rawImage(t, foreign, nil, tarOf(t, file("x", "2")))}, &native, &foreign))
	e := open(t)
	_, err := image.Pull(t.Context(), e, ref, nil)
	require.NoError(t, err)
	damage, err := image.Check(t.Context(), e, nil)
	require.NoError(t, err)
	require.Empty(t, damage)
}

// Images come and go while all is read.
func TestCheckMeanwhile(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	e := open(t)
	srv := registrytest.NewServer(t, nil)
	ref := srv.Host + "/app:v1"
	publish(t, ref, noise("much", 1<<20))
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 6 {
				img, err := image.Pull(ctx, e, ref, &image.PullOptions{Policy: image.PullAlways})
				if err != nil {
					t.Error(err)
					return
				}
				_ = img.Remove(ctx) // the other may have
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		damage, err := image.Check(ctx, e, nil)
		require.NoError(t, err)
		require.Empty(t, damage)
		_, err = image.DiskUsage(ctx, e)
		require.NoError(t, err)
	}
}

// All namespaces of a root have one file of the same content: it is mended for all.
func TestRepairInAllNamespaces(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	srv := registrytest.NewServer(t, nil)
	ref := srv.Host + "/app:v1"
	publish(t, ref, "app")
	root := t.TempDir()
	in := func(namespace string, do func(e *ctor.Engine)) {
		e, err := ctor.Open(ctx, ctor.Config{Root: root, Namespace: namespace})
		require.NoError(t, err)
		defer func() { require.NoError(t, e.Close()) }()
		do(e)
	}
	var all []digest.Digest
	in("one", func(e *ctor.Engine) {
		img, err := image.Pull(ctx, e, ref, nil)
		require.NoError(t, err)
		all = []digest.Digest{img.Digest(), configOf(t, img), layerOf(t, img, 0)}
	})
	in("two", func(e *ctor.Engine) {
		_, err := image.Pull(ctx, e, ref, nil)
		require.NoError(t, err)
		for _, d := range all {
			faults["its content has digest"](t, fileOf(t, e, d))
			damage, err := image.Check(ctx, e, nil)
			require.NoError(t, err)
			require.Len(t, damage, 1)
			require.NoError(t, image.Repair(ctx, e, nil, damage...))
			damage, err = image.Check(ctx, e, nil)
			require.NoError(t, err)
			require.Empty(t, damage)
		}
	})
	for _, namespace := range []string{"one", "two"} {
		in(namespace, func(e *ctor.Engine) {
			collect(t, e)
			damage, err := image.Check(ctx, e, nil)
			require.NoError(t, err)
			require.Empty(t, damage)
			img, err := image.Get(ctx, e, ref)
			require.NoError(t, err)
			export(t, img)
			require.NoError(t, img.Remove(ctx))
			r := remains(t, e)
			require.Empty(t, r["content"])
			require.Empty(t, r["leases"])
		})
	}
}
