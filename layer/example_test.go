package layer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"testing/fstest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/layer"
)

// list prints what a layer holds.
func list(l layer.Layer) {
	r, err := l.Open(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(h.FileInfo().Mode(), h.Name)
	}
}

func ExampleFromFS() {
	site := fstest.MapFS{
		"index.html":     {Data: []byte("<h1>hello</h1>"), Mode: 0o644},
		"css/site.css":   {Data: []byte("h1 { color: teal }"), Mode: 0o644},
		"css/latest.css": {Data: []byte("site.css"), Mode: fs.ModeSymlink},
	}
	l := layer.FromFS(site, nil)
	if err := l.Err(); err != nil {
		log.Fatal(err)
	}
	list(l)
	// Output:
	// dr-xr-xr-x css/
	// Lrwxrwxrwx css/latest.css
	// -rw-r--r-- css/site.css
	// -rw-r--r-- index.html
}

// The file system says nothing of modes, so the options do.
func ExampleOptions() {
	files := fstest.MapFS{"hello": {Data: []byte("#!/bin/sh\necho hello\n")}}
	l := layer.FromFS(files, &layer.Options{
		Prefix:    "usr/bin",
		Mode:      func(string, fs.FileMode) fs.FileMode { return 0o755 },
		CreatedBy: "add hello",
	})
	list(l)
	fmt.Println(l.CreatedBy)
	// Output:
	// -rwxr-xr-x usr/bin/hello
	// add hello
}

func ExampleFromTar() {
	file, err := os.CreateTemp("", "layer-*.tar")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(file.Name())
	w := tar.NewWriter(file)
	w.WriteHeader(&tar.Header{Name: "etc/motd", Mode: 0o644, Size: 3})
	io.WriteString(w, "hi\n")
	// A tar may delete files of the layers below.
	w.WriteHeader(&tar.Header{Name: "etc/.wh.issue"})
	w.Close()
	file.Close()

	l, err := layer.FromTar(func() (io.ReadCloser, error) { return os.Open(file.Name()) })
	if err != nil {
		log.Fatal(err)
	}
	list(l)
	// Output:
	// -rw-r--r-- etc/motd
	// ---------- etc/.wh.issue
}

func ExampleLayer() {
	l := layer.FromFS(fstest.MapFS{"motd": {Data: []byte("hi\n"), Mode: 0o644}}, nil)
	fmt.Println(l.Digest == l.DiffID, l.Size, l.MediaType)
	// Output: true 2048 application/vnd.oci.image.layer.v1.tar
}

func ExampleLayer_Err() {
	l := layer.FromFS(fstest.MapFS{"run/.wh.lock": {}}, nil)
	fmt.Println(l.Err())
	// Output: layer: from fs: run/.wh.lock: a name that starts with ".wh." would delete a file of the layers below (OCI image-spec, layer.md, "Whiteouts"): invalid argument
}

func ExampleLayer_FS() {
	l := layer.FromFS(fstest.MapFS{"motd": {Data: []byte("hi\n"), Mode: 0o644}}, &layer.Options{Prefix: "etc"})
	files, err := l.FS(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	motd, err := fs.ReadFile(files, "etc/motd")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", motd)
	// Output: hi
}

// A store knows its layers already; it need not read them to make one.
func ExampleNew() {
	var stored bytes.Buffer
	tar.NewWriter(&stored).Close()
	id := digest.FromBytes(stored.Bytes())
	desc := ocispec.Descriptor{Digest: id, Size: int64(stored.Len()), MediaType: ocispec.MediaTypeImageLayer}

	l := layer.New(desc, id, func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(stored.Bytes())), nil
	})
	fmt.Println(l.Err(), l.Size)
	// Output: <nil> 1024
}

func ExampleChange() {
	c := layer.Change{Path: "/etc/motd", Kind: layer.Added}
	fmt.Println(c)
	fmt.Println(c.Kind, c.Path)
	// Output:
	// A /etc/motd
	// added /etc/motd
}

func ExampleChangeKind() {
	fmt.Println(layer.Added, layer.Modified, layer.Deleted)
	// Output: added modified deleted
}

// Which layer has the largest files?
func ExampleFile() {
	base := layer.FromFS(fstest.MapFS{"etc/motd": {Data: []byte("hello"), Mode: 0o644}}, nil)
	top := layer.FromFS(fstest.MapFS{"etc/motd": {Data: []byte("hello, world"), Mode: 0o644}, "new": {Mode: 0o644}}, nil)
	for f, err := range layer.Files(context.Background(), base, top) {
		if err != nil {
			log.Fatal(err)
		}
		if f.Info.Mode().IsRegular() {
			fmt.Println(f.Layer, f.Info.Size(), f.Path)
		}
	}
	// Output:
	// 1 12 /etc/motd
	// 1 0 /new
}

// A layer that is read by machines with zstd, and is worth some time to make.
func ExampleCompression() {
	l := layer.FromFS(fstest.MapFS{"data": {Data: []byte("…"), Mode: 0o644}}, &layer.Options{
		Compression: layer.Compression{Format: layer.Zstd, Level: 19},
	})
	fmt.Println(l.Compression, l.Compression.MediaType())
	// Output: zstd:19 application/vnd.oci.image.layer.v1.tar+zstd
}

func ExampleFormat() {
	for _, f := range []layer.Format{layer.Gzip, layer.Zstd, layer.Plain} {
		fmt.Println(layer.Compression{Format: f}.MediaType())
	}
	// Output:
	// application/vnd.oci.image.layer.v1.tar+gzip
	// application/vnd.oci.image.layer.v1.tar+zstd
	// application/vnd.oci.image.layer.v1.tar
}

// A service that runs what strangers name takes small images only.
func ExampleLimits() {
	pull := func(ctx context.Context, e *ctor.Engine, ref string) (*image.Image, error) {
		return image.Pull(ctx, e, ref, &image.PullOptions{
			Limit: layer.Limits{Bytes: 1 << 30, Entries: 100_000},
		})
	}
	_ = pull
}
