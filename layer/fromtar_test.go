package layer_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/layer"
)

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func zstded(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	return w.EncodeAll(b, nil)
}

// entry is a header, and the content if it has any.
type entry struct {
	tar.Header
	data string
}

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		e.Size = int64(len(e.data))
		require.NoError(t, w.WriteHeader(&e.Header))
		_, err := io.WriteString(w, e.data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func file(name, data string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, data: data}
}

func TestFromTar(t *testing.T) {
	// What is behind the end of the archive belongs to the layer.
	content := append(archive(t, file("a", "1"), file("../.wh.b", "")), "trailer"...)
	twoMembers := append(gzipped(t, content[:700]), gzipped(t, content[700:])...)
	for name, stored := range map[string][]byte{
		"plain":       content,
		"gzip":        gzipped(t, content),
		"two members": twoMembers,
		"zstd":        zstded(t, content),
	} {
		t.Run(name, func(t *testing.T) {
			l, err := layer.FromTar(opener(stored))
			require.NoError(t, err)
			require.NoError(t, l.Err())
			require.Equal(t, digest.FromBytes(content), l.DiffID)
			require.Equal(t, l.DiffID, l.Digest)
			require.EqualValues(t, len(content), l.Size)
			require.Equal(t, ocispec.MediaTypeImageLayer, l.MediaType)
			require.NoError(t, iotest.TestReader(open(t, l), content))
		})
	}
}

func TestFromTarInvalid(t *testing.T) {
	content := archive(t, file("a", string(noise(4000))), file("b", "2"))
	gz, zst := gzipped(t, content), zstded(t, content)
	flip := func(b []byte, i int) []byte {
		b = bytes.Clone(b)
		b[i] ^= 0x55
		return b
	}
	eof := io.ErrUnexpectedEOF
	for name, c := range map[string]struct {
		stored []byte
		is     error
	}{
		"empty":               {nil, eof},
		"empty gzip":          {gzipped(t, nil), eof},
		"text":                {bytes.Repeat([]byte("no tar. "), 200), tar.ErrHeader},
		"short text":          {[]byte("no tar"), eof},
		"json error page":     {[]byte(`{"errors":[{"code":"UNAUTHORIZED"}]}`), eof},
		"gzip of text":        {gzipped(t, bytes.Repeat([]byte("no tar. "), 200)), tar.ErrHeader},
		"gzip in gzip":        {gzipped(t, gz), tar.ErrHeader},
		"tar cut in header":   {content[:100], eof},
		"tar cut in file":     {content[:1000], eof},
		"gzip cut in header":  {gz[:5], eof},
		"gzip cut":            {gz[:len(gz)/2], eof},
		"gzip without crc":    {gz[:len(gz)-8], eof},
		"gzip with wrong crc": {flip(gz, len(gz)-6), nil},
		"gzip with trailer":   {append(bytes.Clone(gz), "trailer"...), nil},
		"zstd magic alone":    {zst[:4], eof},
		"zstd cut":            {zst[:len(zst)/2], eof},
		"zstd damaged":        {flip(zst, len(zst)-1), nil},
		// A frame that wants a window of 2 TiB: RFC 8878, section 3.1.1.1.2.
		"zstd window": {[]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 31 << 3, 0x01, 0x00, 0x00}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := layer.FromTar(opener(c.stored))
			require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
			require.ErrorContains(t, err, "layer: from tar: ")
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
			require.Zero(t, l)
		})
	}
	_, err := layer.FromTar(nil)
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
	_, err = layer.FromTar(func() (io.ReadCloser, error) { return nil, nil })
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
}

// An error of the reader is not the tar's fault.
func TestFromTarReadError(t *testing.T) {
	_, err := layer.FromTar(func() (io.ReadCloser, error) { return nil, fs.ErrPermission })
	require.ErrorIs(t, err, fs.ErrPermission)

	broken := errors.New("broken line")
	content := archive(t, file("a", string(noise(100<<10))))
	for name, stored := range map[string][]byte{
		"plain": content,
		"gzip":  gzipped(t, content),
		"zstd":  zstded(t, content),
	} {
		for _, at := range []int{0, 2, 80 << 10} {
			closed := 0
			_, err := layer.FromTar(func() (io.ReadCloser, error) {
				r := io.MultiReader(bytes.NewReader(stored[:at]), iotest.ErrReader(broken))
				return &tracked{Reader: r, closed: &closed}, nil
			})
			require.ErrorIs(t, err, broken, "%s at %d", name, at)
			require.NotErrorIs(t, err, errdefs.ErrInvalidArgument)
			require.Equal(t, 1, closed)
		}
	}
}

type tracked struct {
	io.Reader
	closed *int
}

func (r *tracked) Close() error {
	*r.closed++
	return nil
}

func TestFromTarCloses(t *testing.T) {
	opened, closed := 0, 0
	l, err := layer.FromTar(func() (io.ReadCloser, error) {
		opened++
		return &tracked{bytes.NewReader(gzipped(t, archive(t, file("a", "1")))), &closed}, nil
	})
	require.NoError(t, err)
	require.Equal(t, 1, opened)
	require.Equal(t, 1, closed)

	r, err := l.Open(t.Context())
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	require.Equal(t, 2, opened)
	require.Equal(t, 2, closed)
}

func TestFromTarChanges(t *testing.T) {
	content := archive(t, file("a", string(noise(5000))))
	stored := content
	l, err := layer.FromTar(func() (io.ReadCloser, error) { return opener(stored)() })
	require.NoError(t, err)

	gz := gzipped(t, content)
	for name, now := range map[string][]byte{
		"other tar":      archive(t, file("a", "2")),
		"empty":          {},
		"truncated":      content[:600],
		"truncated gzip": gz[:len(gz)/2],
		"gzip magic":     gz[:2],
	} {
		t.Run(name, func(t *testing.T) {
			stored = now
			r, err := l.Open(t.Context())
			if err == nil {
				_, err = io.ReadAll(r)
			}
			require.ErrorIs(t, err, errdefs.ErrDataLoss)
		})
	}
	stored = gz
	require.Equal(t, content, read(t, l), "the same tar, compressed")
}

// A Read that waits for a source without a ctx wakes up when ctx ends, and so does
// Open, which waits for the first bytes.
func TestFromTarCancelBlockedRead(t *testing.T) {
	content := archive(t, file("a", string(noise(1<<20))))
	for _, stored := range [][]byte{content, gzipped(t, content), zstded(t, content)} {
		for _, before := range []int{0, 200 << 10} {
			synctest.Test(t, func(t *testing.T) {
				var r io.ReadCloser = io.NopCloser(bytes.NewReader(stored))
				l, err := layer.FromTar(func() (io.ReadCloser, error) { return r, nil })
				require.NoError(t, err)

				pr, pw := io.Pipe()
				r = pr
				go pw.Write(stored[:before])
				ctx, cancel := context.WithCancel(t.Context())
				result := make(chan error)
				go func() {
					rc, err := l.Open(ctx)
					if err == nil {
						defer rc.Close()
						_, err = io.Copy(io.Discard, rc)
					}
					result <- err
				}()
				synctest.Wait() // until it waits for the pipe
				cancel()
				require.ErrorIs(t, <-result, context.Canceled)
			})
		}
	}
}

func FuzzFromTar(f *testing.F) {
	content := archive(f,
		entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: "./usr/", Mode: 0o755}},
		file("usr/a", "1"), file("usr/.wh.b", ""), file("/../etc/"+string(bytes.Repeat([]byte("x"), 200)), "2"),
		entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "bin", Linkname: "/usr"}},
		entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: "bin/c", Linkname: "usr/a"}},
		entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}},
	)
	f.Add(content)
	f.Add(content[:700])
	f.Add(gzipped(f, content))
	f.Add(gzipped(f, content)[:60])
	f.Add(zstded(f, content))
	f.Add(zstded(f, content)[:60])
	f.Add([]byte("no tar"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, stored []byte) {
		l, err := layer.FromTar(opener(stored))
		if err != nil {
			if !errors.Is(err, errdefs.ErrInvalidArgument) {
				t.Fatalf("%v has no class", err)
			}
			return
		}
		r, err := l.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		n, err := io.Copy(io.Discard, r)
		if err != nil || n != l.Size {
			t.Fatalf("read %d of %d bytes: %v", n, l.Size, err)
		}
		walk(t, l)
	})
}

// walk looks at everything a hostile layer's file system shows.
func walk(t *testing.T, l layer.Layer) {
	fsys, err := l.FS(t.Context())
	if err != nil {
		return
	}
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !fs.ValidPath(name) {
			t.Fatalf("%q is no valid path", name)
		}
		if f, err := fsys.Open(name); err == nil {
			f.Read(make([]byte, 10))
			return f.Close()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
