package packing_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/packing"
	"github.com/ctorhq/ctor/internal/rootfs"
)

// go test ./internal/packing -run '^$' -bench Layer -benchtime 5x

// What a layer costs: to take it out of what it is packed in and to hash that, to write
// the tar to one file as well, which is the least that an image of a file system can
// cost, and to make the files. All but the hash of the blob and the network.
func BenchmarkLayer(b *testing.B) {
	plain := sources(b, 100<<20)
	var gz, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	z, err := zstd.NewWriter(&zs)
	require.NoError(b, err)
	for _, w := range []io.WriteCloser{g, z} {
		_, err := w.Write(plain)
		require.NoError(b, err)
		require.NoError(b, w.Close())
	}
	for _, c := range []struct {
		name, mediaType string
		blob            []byte
	}{
		{"gzip", ocispec.MediaTypeImageLayerGzip, gz.Bytes()}, {"zstd", ocispec.MediaTypeImageLayerZstd, zs.Bytes()},
	} {
		for _, to := range []struct {
			name string
			use  func(dir string, tar io.Reader) error
		}{
			{"read", func(string, io.Reader) error { return nil }},
			{"one file", func(dir string, tar io.Reader) error {
				f, err := os.Create(filepath.Join(dir, "layer"))
				if err == nil {
					_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{tar}, make([]byte, 256<<10))
					f.Close()
				}
				return err
			}},
			{"files", func(dir string, tar io.Reader) error {
				return rootfs.Apply(context.Background(), []mount.Mount{{Type: "bind", Source: dir}}, tar)
			}},
		} {
			b.Run(c.name+"/"+to.name, func(b *testing.B) {
				b.SetBytes(int64(len(plain)))
				began := cpu(b)
				for b.Loop() {
					dir := b.TempDir()
					tar, err := packing.Open(b.Context(), c.mediaType, bytes.NewReader(c.blob), nil)
					require.NoError(b, err)
					require.NoError(b, to.use(dir, tar))
					_, err = tar.Rest()
					require.NoError(b, err)
					require.NoError(b, tar.Close())
				}
				b.ReportMetric(float64(cpu(b)-began)/1e6/float64(b.N), "cpu-ms/op")
			})
		}
	}
}

// cpu is the processor time of this process so far, in nanoseconds.
func cpu(b *testing.B) int64 {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return u.Utime.Nano() + u.Stime.Nano()
}

// sources is a tar of the Go toolchain's files, up to a size.
func sources(b *testing.B, size int) []byte {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(b, err)
	top := strings.TrimSpace(string(out))
	var to bytes.Buffer
	w := tar.NewWriter(&to)
	require.NoError(b, filepath.WalkDir(top, func(at string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || to.Len() > size {
			return err
		}
		data, err := os.ReadFile(at)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(at, top+"/"), Size: int64(len(data)), Mode: 0o644}); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	}))
	require.NoError(b, w.Close())
	return to.Bytes()
}
