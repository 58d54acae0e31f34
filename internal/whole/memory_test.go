package whole

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/platforms"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// go test ./internal/whole -v -run TestPullMemory -megabytes 1000
var megabytes = flag.Int("megabytes", 32, "size of the images whose pull may take up 100 MiB of memory")

// helpGrow pulls an image, and says by how many KiB the process grew meanwhile, and
// with what error.
func helpGrow(args []string) error {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: args[0]})
	if err != nil {
		return err
	}
	debug.FreeOSMemory()
	idle, err := memory("VmRSS:")
	if err == nil {
		err = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // VmHWM begins again: proc(5)
	}
	if err != nil {
		return err
	}
	_, perr := image.Pull(ctx, e, args[1], nil)
	most, err := memory("VmHWM:")
	fmt.Println(most-idle, perr)
	return errors.Join(err, e.Close())
}

// memory reads a number of KiB of this process.
func memory(name string) (int, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name); ok {
			return strconv.Atoi(strings.Fields(v)[0])
		}
	}
	return 0, fmt.Errorf("no %s", name)
}

// A pull takes up a bounded part of memory, however large the image is and whatever
// it unpacks to.
func TestPullMemory(t *testing.T) {
	if testing.Short() || raced {
		t.Skip("takes its time, or measures the race detector")
	}
	srv := registrytest.NewServer(t, &registrytest.Options{Root: t.TempDir()})
	each := *megabytes << 20 / 10
	files := func(n int) func(*tar.Writer) error {
		return func(w *tar.Writer) error {
			random := rand.NewChaCha8([32]byte{byte(n)})
			for left, i := each, 0; left > 0; i++ {
				data := make([]byte, min(left, int(random.Uint64()%100_000)))
				_, _ = random.Read(data[len(data)/3:]) // the rest packs
				if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("dir-%d/file-%d-%d", i%50, n, i), Size: int64(len(data)), Mode: 0o644}); err != nil {
					return err
				}
				if _, err := w.Write(data); err != nil {
					return err
				}
				left -= len(data) + 1
			}
			return nil
		}
	}
	var layers []func(*tar.Writer) error
	for n := range 10 {
		layers = append(layers, files(n))
	}
	empty := func(w *tar.Writer) (err error) {
		for n := 0; n < *megabytes*100 && err == nil; n++ {
			err = w.WriteHeader(&tar.Header{Name: fmt.Sprintf("d%d/f%d", n/1000, n), Mode: 0o644})
		}
		return err
	}
	for name, c := range map[string]struct {
		packing string
		layers  []func(*tar.Writer) error
	}{
		"gzip": {"gzip", layers}, "zstd": {"zstd", layers}, "empty files": {"gzip", []func(*tar.Writer) error{empty}},
	} {
		t.Run(name, func(t *testing.T) {
			ref := srv.Host + "/" + strings.ReplaceAll(name, " ", "-") + ":1"
			upload(t, srv, ref, c.packing, c.layers)
			out, err := fixture.Program("grow", t.TempDir(), ref).Output()
			require.NoError(t, err)
			kib, perr, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
			require.Equal(t, "<nil>", perr)
			grown, err := strconv.Atoi(kib)
			require.NoError(t, err)
			t.Logf("the program grew by %d MiB", grown>>10)
			require.Less(t, grown, 100<<10, "KiB")
		})
	}
}

// upload publishes an image whose layers are too large to be in memory.
func upload(t *testing.T, srv *registrytest.Server, ref, packing string, layers []func(*tar.Writer) error) {
	t.Helper()
	r, err := registry.New(srv.Host, srv.Options())
	require.NoError(t, err)
	repo, _, _ := strings.Cut(strings.TrimPrefix(ref, srv.Host+"/"), ":")
	config := ocispec.Image{Platform: platforms.DefaultSpec(), RootFS: ocispec.RootFS{Type: "layers"}}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, write := range layers {
		d, diffID := packLayer(t, packing, write, func(d ocispec.Descriptor, f *os.File) {
			require.NoError(t, r.Push(t.Context(), repo, d, f))
		})
		manifest.Layers = append(manifest.Layers, d)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
	}
	b, err := json.Marshal(config)
	require.NoError(t, err)
	manifest.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(b), Size: int64(len(b))}
	require.NoError(t, r.Push(t.Context(), repo, manifest.Config, bytes.NewReader(b)))
	b, err = json.Marshal(manifest)
	require.NoError(t, err)
	top := ocispec.Descriptor{MediaType: manifest.MediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	require.NoError(t, r.PushManifest(t.Context(), ref, top, bytes.NewReader(b)))
}

// packLayer writes a layer to a file, and describes it.
func packLayer(t *testing.T, packing string, write func(*tar.Writer) error, use func(ocispec.Descriptor, *os.File)) (ocispec.Descriptor, digest.Digest) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "layer")
	require.NoError(t, err)
	defer f.Close()
	blob, plain := digest.Canonical.Digester(), digest.Canonical.Digester()
	out := io.MultiWriter(f, blob.Hash())
	var packed io.WriteCloser
	if packing == "zstd" {
		packed, err = zstd.NewWriter(out)
	} else {
		packed, err = gzip.NewWriterLevel(out, gzip.BestSpeed)
	}
	require.NoError(t, err)
	w := tar.NewWriter(io.MultiWriter(packed, plain.Hash()))
	require.NoError(t, write(w))
	require.NoError(t, errors.Join(w.Close(), packed.Close()))
	size, err := f.Seek(0, io.SeekCurrent)
	require.NoError(t, err)
	_, err = f.Seek(0, io.SeekStart)
	require.NoError(t, err)
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer + "+" + packing, Digest: blob.Digest(), Size: size}
	use(d, f)
	return d, plain.Digest()
}
