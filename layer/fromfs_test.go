package layer_test

import (
	"archive/tar"
	"bytes"
	"embed"
	"errors"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/iotest"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/layer"
)

//go:embed testdata/tree
var embedded embed.FS

// golden is the digest of tree(), for good: a change here means that every user's
// layers get new digests and are uploaded again.
const golden digest.Digest = "sha256:98f2ead6a35af118b9381f7ee36ec01aebfa3ad77e9b331e90720d3d7efdcaa9"

var long = strings.Repeat("long-name/", 30) + strings.Repeat("x", 200)

// tree has something of all that a layer can hold.
func tree() fstest.MapFS {
	return fstest.MapFS{
		"empty":            {Mode: fs.ModeDir | 0o700},
		"etc/motd":         {Data: []byte("hi\n"), Mode: 0o644, ModTime: time.Now()},
		"etc/none":         {Mode: 0o600},
		"bin/sudo":         {Data: noise(100_000), Mode: fs.ModeSetuid | 0o755},
		"bin/wall":         {Data: noise(512), Mode: fs.ModeSetgid | 0o755},
		"bin/sh":           {Data: []byte("/bin/sudo"), Mode: fs.ModeSymlink | 0o700},
		"tmp":              {Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		"grüße/日本語":        {Data: []byte("unicode"), Mode: 0o644},
		"bin-":             {Data: []byte("sorts behind bin/ in a walk"), Mode: 0o644},
		long:               {Data: []byte("long"), Mode: 0o644},
		"a\nb":             {Data: []byte("odd"), Mode: 0o644},
		"link-to-far-away": {Data: []byte(long), Mode: fs.ModeSymlink},
	}
}

// headers reads a layer with archive/tar and returns its headers and contents.
func headers(t *testing.T, l layer.Layer) ([]*tar.Header, map[string]string) {
	t.Helper()
	tr := tar.NewReader(open(t, l))
	var list []*tar.Header
	data := map[string]string{}
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return list, data
		}
		require.NoError(t, err)
		b, err := io.ReadAll(tr)
		require.NoError(t, err)
		list = append(list, h)
		data[h.Name] = string(b)
	}
}

func names(t *testing.T, l layer.Layer) []string {
	t.Helper()
	list, _ := headers(t, l)
	var names []string
	for _, h := range list {
		names = append(names, h.Name)
	}
	return names
}

func TestFromFSGolden(t *testing.T) {
	l := layer.FromFS(tree(), nil)
	require.NoError(t, l.Err())
	require.Equal(t, golden, l.DiffID)
	require.Equal(t, l.DiffID, l.Digest)
	require.Equal(t, ocispec.MediaTypeImageLayer, l.MediaType)
	require.Equal(t, digest.FromBytes(read(t, l)), l.DiffID)
	require.EqualValues(t, len(read(t, l)), l.Size)
	require.NoError(t, iotest.TestReader(open(t, l), read(t, l)))

	again, err := layer.FromTar(func() (io.ReadCloser, error) { return l.Open(t.Context()) })
	require.NoError(t, err)
	require.Equal(t, l.DiffID, again.DiffID)
}

func TestFromFSRoundTrip(t *testing.T) {
	mod := time.Date(2001, 2, 3, 4, 5, 6, 7, time.FixedZone("", 3600))
	l := layer.FromFS(tree(), &layer.Options{ModTime: mod, UID: 1000, GID: 5_000_000, CreatedBy: "me"})
	require.NoError(t, l.Err())
	require.Equal(t, "me", l.CreatedBy)

	list, data := headers(t, l)
	seen := map[string]*tar.Header{}
	for _, h := range list {
		seen[h.Name] = h
		require.True(t, h.ModTime.Equal(mod.Truncate(time.Second)), h.Name)
		require.True(t, h.AccessTime.IsZero() && h.ChangeTime.IsZero(), h.Name)
		require.Equal(t, 1000, h.Uid)
		require.Equal(t, 5_000_000, h.Gid)
		require.Empty(t, h.Uname+h.Gname)
	}
	for name, f := range tree() {
		if f.Mode.IsDir() {
			name += "/"
		}
		h := seen[name]
		require.NotNil(t, h, name)
		if f.Mode.Type() == fs.ModeSymlink {
			require.Equal(t, string(f.Data), h.Linkname)
			require.EqualValues(t, 0o777, h.Mode, "a link's mode is the same everywhere")
			continue
		}
		require.Equal(t, f.Mode, h.FileInfo().Mode(), name)
		require.Equal(t, string(f.Data), data[name])
	}
}

// A directory comes before what is in it, and names are in byte order.
func TestFromFSOrder(t *testing.T) {
	unsorted := listFS{fstest.MapFS{"b/c": {}, "b/a": {}, "b-": {}, "a": {}}, func(list []fs.DirEntry) []fs.DirEntry {
		list = slices.Clone(list)
		slices.Reverse(list)
		return list
	}}
	require.Equal(t, []string{"a", "b/", "b/a", "b/c", "b-"}, names(t, layer.FromFS(unsorted, nil)))
}

// Three file systems with the same content make one layer.
func TestFromFSReproducible(t *testing.T) {
	dir := t.TempDir()
	inMemory := fstest.MapFS{}
	sub, err := fs.Sub(embedded, "testdata/tree")
	require.NoError(t, err)
	require.NoError(t, os.CopyFS(dir, sub))
	require.NoError(t, fs.WalkDir(sub, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			b, err := fs.ReadFile(sub, name)
			inMemory[name] = &fstest.MapFile{Data: b}
			return err
		}
		return err
	}))

	opts := &layer.Options{Prefix: "srv", Mode: func(name string, mode fs.FileMode) fs.FileMode {
		if mode.IsDir() || strings.HasPrefix(name, "bin/") {
			return 0o755
		}
		return 0o644
	}}
	want := layer.FromFS(sub, opts)
	require.NoError(t, want.Err())
	require.Equal(t, []string{"srv/bin/", "srv/bin/hello", "srv/etc/", "srv/etc/hello.conf"}, names(t, want))
	require.Equal(t, want.DiffID, layer.FromFS(os.DirFS(dir), opts).DiffID)
	require.Equal(t, want.DiffID, layer.FromFS(inMemory, opts).DiffID)

	// Neither the time nor another FS of the same files makes a difference.
	require.NoError(t, os.Chtimes(filepath.Join(dir, "bin/hello"), time.Now(), time.Unix(1, 1)))
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	require.Equal(t, want.DiffID, layer.FromFS(root.FS(), opts).DiffID)
}

func TestFromFSOptionsAreCopied(t *testing.T) {
	opts := &layer.Options{Prefix: "a"}
	l := layer.FromFS(fstest.MapFS{"x": {}}, opts)
	opts.Prefix = "b"
	require.Equal(t, []string{"a/x"}, names(t, l))
}

func TestFromFSPrefix(t *testing.T) {
	for prefix, want := range map[string][]string{
		"":         {"x"},
		".":        {"x"},
		"/":        {"x"},
		"/app/":    {"app/x"},
		"a/b/c":    {"a/b/c/x"},
		"grüße/日本": {"grüße/日本/x"},
	} {
		l := layer.FromFS(fstest.MapFS{"x": {}}, &layer.Options{
			Prefix: prefix,
			Mode:   func(string, fs.FileMode) fs.FileMode { return 0 },
		})
		require.NoError(t, l.Err(), prefix)
		require.Equal(t, want, names(t, l), "the prefix's directories are the image's own affair")
	}
	empty := layer.FromFS(fstest.MapFS{}, nil)
	require.Empty(t, names(t, empty))
	require.EqualValues(t, 1024, empty.Size)
}

func TestFromFSBadOptions(t *testing.T) {
	for name, o := range map[string]layer.Options{
		"parent":          {Prefix: "../x"},
		"hidden parent":   {Prefix: "a/../b"},
		"two slashes":     {Prefix: "//app"},
		"inner slashes":   {Prefix: "a//b"},
		"dot":             {Prefix: "./a"},
		"not utf-8":       {Prefix: "a\xff"},
		"nul":             {Prefix: "a\x00b"},
		"whiteout":        {Prefix: "a/.wh.b"},
		"opaque whiteout": {Prefix: ".wh..wh..opq"},
		"uid":             {UID: -1},
		"gid":             {GID: math.MaxUint32},
	} {
		t.Run(name, func(t *testing.T) {
			l := layer.FromFS(fstest.MapFS{"x": {}}, &o)
			require.ErrorIs(t, l.Err(), errdefs.ErrInvalidArgument)
			require.Empty(t, l.Digest)
		})
	}
	require.ErrorIs(t, layer.FromFS(nil, nil).Err(), errdefs.ErrInvalidArgument)
}

func TestFromFSRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		fsys fs.FS
		path string
	}{
		"whiteout":           {fstest.MapFS{"etc/.wh.foo": {}}, "etc/.wh.foo"},
		"whiteout directory": {fstest.MapFS{"etc/.wh.d/foo": {}}, "etc/.wh.d"},
		"opaque whiteout":    {fstest.MapFS{"d/.wh..wh..opq": {}}, "d/.wh..wh..opq"},
		"fifo":               {fstest.MapFS{"d/x": {Mode: fs.ModeNamedPipe | 0o644}}, "d/x"},
		"socket":             {fstest.MapFS{"d/x": {Mode: fs.ModeSocket}}, "d/x"},
		"block device":       {fstest.MapFS{"d/x": {Mode: fs.ModeDevice}}, "d/x"},
		"char device":        {fstest.MapFS{"d/x": {Mode: fs.ModeDevice | fs.ModeCharDevice}}, "d/x"},
		"irregular":          {fstest.MapFS{"d/x": {Mode: fs.ModeIrregular}}, "d/x"},
		"nul":                {fstest.MapFS{"d/a\x00b": {}}, "d"},
		"nul in link":        {fstest.MapFS{"d/x": {Data: []byte("a\x00b"), Mode: fs.ModeSymlink}}, "d/x"},
		"no ReadLink":        {noLinks{fstest.MapFS{"d/x": {Data: []byte("y"), Mode: fs.ModeSymlink}}}, "d/x"},
		"link to nothing":    {fstest.MapFS{"d/x": {Mode: fs.ModeSymlink}}, "d/x"},
	} {
		t.Run(name, func(t *testing.T) {
			l := layer.FromFS(c.fsys, nil)
			require.ErrorIs(t, l.Err(), errdefs.ErrInvalidArgument)
			require.ErrorContains(t, l.Err(), "layer: from fs: "+c.path+": ")
			require.Zero(t, l.Size)
			_, err := l.Open(t.Context())
			require.Equal(t, l.Err(), err)
		})
	}
}

// No name that ReadDir makes up gets into a tar.
func TestFromFSHostileNames(t *testing.T) {
	for _, name := range []string{"..", ".", "", "a/b", "../../etc/passwd", "/etc", "\xff"} {
		fsys := listFS{fstest.MapFS{"d/x": {}}, func(list []fs.DirEntry) []fs.DirEntry {
			if list[0].Name() == "x" {
				return []fs.DirEntry{renamed{list[0], name}}
			}
			return list
		}}
		l := layer.FromFS(fsys, nil)
		require.ErrorIs(t, l.Err(), errdefs.ErrInvalidArgument, "%q", name)
		require.ErrorContains(t, l.Err(), "d: ")
	}
	twice := listFS{fstest.MapFS{"d/x": {}}, func(list []fs.DirEntry) []fs.DirEntry { return append(list, list...) }}
	require.ErrorIs(t, layer.FromFS(twice, nil).Err(), errdefs.ErrInvalidArgument)
}

func TestFromFSOnDisk(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Symlink("/nowhere", filepath.Join(dir, "dangling")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "suid"), []byte("x"), 0o600))
	require.NoError(t, os.Chmod(filepath.Join(dir, "suid"), fs.ModeSetuid|0o751))
	list, _ := headers(t, layer.FromFS(os.DirFS(dir), nil))
	require.Len(t, list, 2)
	require.Equal(t, "/nowhere", list[0].Linkname)
	require.Equal(t, fs.ModeSetuid|0o751, list[1].FileInfo().Mode())

	fifo := filepath.Join(dir, "zz-fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	l := layer.FromFS(os.DirFS(dir), nil) // and doesn't wait for a writer
	require.ErrorIs(t, l.Err(), errdefs.ErrInvalidArgument)
	require.ErrorContains(t, l.Err(), "zz-fifo")
	require.NoError(t, os.Remove(fifo))

	sock, err := net.Listen("unix", filepath.Join(dir, "sock"))
	require.NoError(t, err)
	require.ErrorContains(t, layer.FromFS(os.DirFS(dir), nil).Err(), "sock")
	require.NoError(t, sock.Close())

	require.ErrorIs(t, layer.FromFS(os.DirFS(filepath.Join(dir, "gone")), nil).Err(), fs.ErrNotExist)
	require.Error(t, layer.FromFS(os.DirFS(filepath.Join(dir, "suid")), nil).Err(), "a file is no file system")
}

func TestFromFSSizeChanges(t *testing.T) {
	for _, size := range []int{1, 512, 64 << 10, 100_000} {
		for _, delta := range []int64{-1, 1, -int64(size), 1 << 40} {
			l := layer.FromFS(sizeFS{fstest.MapFS{"x": {Data: noise(size)}}, delta}, nil)
			require.ErrorIs(t, l.Err(), errdefs.ErrDataLoss, "%d bytes, said to be %d more", size, delta)
			require.ErrorContains(t, l.Err(), "x: ")
		}
	}
	l := layer.FromFS(sizeFS{fstest.MapFS{"x": {}}, -1}, nil)
	require.ErrorIs(t, l.Err(), errdefs.ErrInvalidArgument, "a negative size")
}

// The file system may change between FromFS and Open: that is found out, too.
func TestFromFSChangesLater(t *testing.T) {
	fsys := fstest.MapFS{"a": {Data: []byte("1")}, "b": {Data: []byte("1")}}
	l := layer.FromFS(fsys, nil)
	require.NoError(t, l.Err())
	for name, change := range map[string]func(){
		"content": func() { fsys["a"].Data = []byte("2") },
		"mode":    func() { fsys["a"].Mode = 0o777 },
		"name":    func() { fsys["c"] = &fstest.MapFile{} },
		"gone":    func() { delete(fsys, "b") },
	} {
		fsys["a"], fsys["b"] = &fstest.MapFile{Data: []byte("1")}, &fstest.MapFile{Data: []byte("1")}
		delete(fsys, "c")
		read(t, l)
		change()
		_, err := io.ReadAll(open(t, l))
		require.ErrorIs(t, err, errdefs.ErrDataLoss, name)
	}
}

func TestFromFSErrors(t *testing.T) {
	broken := errors.New("broken disk")
	fsys := fstest.MapFS{"d/x": {Data: []byte("1")}, "d/none": {}, "e/l": {Data: []byte("x"), Mode: fs.ModeSymlink}}
	for name, f := range map[string]brokenFS{
		"open":      {fsys, "open", "d/x", broken},
		"read":      {fsys, "read", "d/x", broken},
		"read none": {fsys, "read", "d/none", broken},
		"readdir":   {fsys, "readdir", "d", broken},
		"info":      {fsys, "info", "d/x", broken},
		"symlink":   {fsys, "readlink", "e/l", broken},
		"the root":  {fsys, "readdir", ".", broken},
	} {
		t.Run(name, func(t *testing.T) {
			l := layer.FromFS(f, nil)
			require.ErrorIs(t, l.Err(), broken)
			require.NotErrorIs(t, l.Err(), errdefs.ErrInvalidArgument)
			if f.name != "." {
				require.ErrorContains(t, l.Err(), f.name+": ")
			}
		})
	}
}

// Closing a reader closes the file it was in.
func TestFromFSClosesFiles(t *testing.T) {
	fsys := &countFS{FS: fstest.MapFS{"a": {Data: noise(1 << 20)}, "b": {Data: noise(10)}}}
	l := layer.FromFS(fsys, nil)
	require.NoError(t, l.Err())
	require.Zero(t, fsys.open)
	r := open(t, l)
	_, err := io.CopyN(io.Discard, r, 100_000)
	require.NoError(t, err)
	require.Equal(t, 1, fsys.open)
	require.NoError(t, r.Close())
	require.Zero(t, fsys.open)
}

func TestFromFSConcurrent(t *testing.T) {
	l := layer.FromFS(tree(), nil)
	want := read(t, l)
	t.Run("readers", func(t *testing.T) {
		for range 8 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				require.True(t, bytes.Equal(want, read(t, l)))
			})
		}
	})
}
