package layer_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/ctorhq/ctor/layer"
)

// small is a tree of many small files, as node_modules is one.
func small() fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := range 2000 {
		fsys[fmt.Sprintf("d%02d/e%02d/f%d", i%20, i%50, i)] = &fstest.MapFile{Data: noise(500), Mode: 0o644}
	}
	return fsys
}

func benchFromFS(b *testing.B, fsys fs.FS) {
	l := layer.FromFS(fsys, nil)
	if l.Err() != nil {
		b.Fatal(l.Err())
	}
	b.SetBytes(l.Size)
	b.ReportAllocs()
	for b.Loop() {
		layer.FromFS(fsys, nil)
	}
}

func BenchmarkFromFSMany(b *testing.B) {
	dir := b.TempDir()
	if err := os.CopyFS(dir, small()); err != nil {
		b.Fatal(err)
	}
	b.Run("memory", func(b *testing.B) { benchFromFS(b, small()) })
	b.Run("disk", func(b *testing.B) { benchFromFS(b, os.DirFS(dir)) })
}

func BenchmarkFromFSBig(b *testing.B) {
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "big"), noise(64<<20), 0o644); err != nil {
		b.Fatal(err)
	}
	benchFromFS(b, os.DirFS(dir))
}

func BenchmarkFromTar(b *testing.B) {
	plain := layer.FromFS(small(), nil)
	r, err := plain.Open(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		b.Fatal(err)
	}
	for name, stored := range map[string][]byte{"plain": content, "gzip": gzipped(b, content), "zstd": zstded(b, content)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := layer.FromTar(opener(stored)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
