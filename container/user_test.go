package container_test

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/layer"
)

func TestUser(t *testing.T) {
	fixture.NeedsHost(t)
	t.Parallel()
	img := busybox(t)
	for user, want := range map[string]string{
		"":            "uid=0(root) gid=0(root) groups=0(root)",
		"root":        "uid=0(root) gid=0(root) groups=0(root)",
		"app":         "uid=1000(app) gid=1000(app) groups=1000(app),1001(extra)",
		"1000":        "uid=1000(app) gid=1000(app) groups=1000(app),1001(extra)",
		"app:nogroup": "uid=1000(app) gid=65534(nogroup) groups=65534(nogroup)",
		"app:7":       "uid=1000(app) gid=7 groups=7",
		"77":          "uid=77 gid=0(root) groups=0(root)",
		"77:88":       "uid=77 gid=88 groups=88",
		":app":        "uid=0(root) gid=1000(app) groups=1000(app)",
		"2147483647":  "uid=2147483647 gid=0(root) groups=0(root)",
	} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, want, strings.TrimSpace(stdout(t, img, container.Config{Args: []string{"id"}, User: user})))
		})
	}
}

func TestImageUser(t *testing.T) {
	fixture.NeedsUsers(t)
	t.Parallel()
	img := derive(t, "user", func(c *ocispec.ImageConfig) { c.User = "app" })
	require.Equal(t, "app\n", stdout(t, img, container.Config{Args: []string{"id", "-un"}}))
	require.Equal(t, "root\n", stdout(t, img, container.Config{Args: []string{"id", "-un"}, User: "root"}))
	overflow := derive(t, "overflow", func(c *ocispec.ImageConfig) { c.User = "4294967296" })
	_, err := overflow.New(t.Context(), container.Config{})
	require.ErrorIs(t, err, ctor.ErrInvalid, "it must not come out as root")
}

// passwdImage has what the header says as /etc/passwd.
func passwdImage(t *testing.T, e *ctor.Engine, h tar.Header, data io.Reader) *image.Image {
	h.Name, h.Mode = "etc/passwd", 0o644
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&h))
	if data != nil {
		_, err := io.Copy(w, data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	l, err := layer.FromTar(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	require.NoError(t, err)
	ref := "ctor.test/" + strings.ToLower(strings.NewReplacer("/", "-", " ", "-").Replace(t.Name()))
	img, err := fixture.Busybox(t, e).Derive(t.Context(), ref, func(c *ocispec.ImageConfig) { c.Cmd = []string{"id"} }, l)
	require.NoError(t, err)
	return img
}

// What an image has as /etc/passwd must neither hang nor hurt the host, nor
// show what the host has.
func TestHostilePasswd(t *testing.T) {
	fixture.NeedsHost(t)
	t.Parallel()
	e := fixture.Open(t)
	for name, test := range map[string]struct {
		h     tar.Header
		data  io.Reader
		class error
	}{
		"fifo":      {tar.Header{Typeflag: tar.TypeFifo}, nil, ctor.ErrInvalid},
		"device":    {tar.Header{Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 5}, nil, ctor.ErrInvalid}, // endless zeros
		"directory": {tar.Header{Typeflag: tar.TypeDir}, nil, ctor.ErrInvalid},
		"huge":      {tar.Header{Typeflag: tar.TypeReg, Size: 5 << 20}, io.LimitReader(zeros{}, 5<<20), ctor.ErrInvalid},
		"loop":      {tar.Header{Typeflag: tar.TypeSymlink, Linkname: "passwd"}, nil, ctor.ErrInvalid},
		"host":      {tar.Header{Typeflag: tar.TypeSymlink, Linkname: "../../../../../../../../etc/services"}, nil, ctor.ErrNotFound},
		"absolute":  {tar.Header{Typeflag: tar.TypeSymlink, Linkname: "/usr/../../../etc/services"}, nil, ctor.ErrNotFound},
		"proc":      {tar.Header{Typeflag: tar.TypeSymlink, Linkname: "/proc/self/root/etc/passwd"}, nil, ctor.ErrNotFound},
		"lines":     {tar.Header{Typeflag: tar.TypeReg, Size: int64(len(nonsense))}, strings.NewReader(nonsense), ctor.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			img := passwdImage(t, e, test.h, test.data)
			_, err := img.New(t.Context(), container.Config{User: "app"})
			require.ErrorIs(t, err, test.class)
			before := fixture.Count(t, e) // with the image unpacked
			_, err = img.New(t.Context(), container.Config{User: "app"})
			require.ErrorIs(t, err, test.class)
			before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
		})
	}
	t.Run("link within", func(t *testing.T) {
		img := passwdImage(t, e, tar.Header{Typeflag: tar.TypeSymlink, Linkname: "/etc/users"}, nil)
		img, err := img.Derive(t.Context(), img.Ref(), nil, layer.FromFS(fstest.MapFS{"etc/users": {Data: []byte("extra:x:1001:0::/:\n")}}, nil))
		require.NoError(t, err)
		out, _, err := output(t, img, container.Config{User: "extra"})
		require.NoError(t, err)
		require.Contains(t, out, "uid=1001")
	})
}

// A passwd that only a running container has, such as the kernel's log, is not
// in the image; a runtime would read it all the same.
func TestPasswdOfKernel(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	for name, target := range map[string]string{"log": "/proc/kmsg", "relative": "../proc/kallsyms", "input": "/dev/stdin", "more links": "/hop"} {
		t.Run(name, func(t *testing.T) {
			img := passwdImage(t, e, tar.Header{Typeflag: tar.TypeSymlink, Linkname: target}, nil)
			img, err := img.Derive(t.Context(), img.Ref(), nil, layer.FromFS(fstest.MapFS{"hop": {Data: []byte("sys/x"), Mode: fs.ModeSymlink | 0o777}}, nil))
			require.NoError(t, err)
			_, err = img.New(t.Context(), container.Config{})
			require.ErrorIs(t, err, ctor.ErrInvalid)
			require.ErrorContains(t, err, "/etc/passwd leads to /")
			require.ErrorIs(t, img.Command(t.Context(), "true").Run(), ctor.ErrInvalid)
		})
	}
}

// A number in passwd or group that is no uid must not become another one by
// wrapping, or by being taken for 0.
func TestNumbersOfPasswd(t *testing.T) {
	fixture.NeedsHost(t)
	t.Parallel()
	img, err := busybox(t).Derive(t.Context(), "ctor.test/numbers", nil, layer.FromFS(fstest.MapFS{
		"etc/passwd": {Mode: 0o644, Data: []byte(`root:x:0:0::/root:/bin/sh
wraps:x:4294967296:100::/:/bin/sh
group:x:1000:4294967296::/:/bin/sh
keeps:x:4294967295:100::/:/bin/sh
word:x:zero:0::/:/bin/sh
minus:x:-1:0::/:/bin/sh
vast:x:99999999999999999999:0::/:/bin/sh
none:x:::::
short
beyond:x:2147483648:0::/:/bin/sh
last:x:2147483647:2147483647::/:/bin/sh
app:x:1000:1000::/home/app:/bin/sh
`)},
		"etc/group": {Mode: 0o644, Data: []byte("wraps:x:4294967296:app\nword:x:zero:app\nextra:x:1001:app\n")},
	}, nil))
	require.NoError(t, err)
	c := containertest.Run(t, img, container.Config{Args: []string{"sleep", "1000"}})
	for _, user := range []string{"wraps", "group", "keeps", "word", "minus", "vast", "beyond", "none", "short", "app:wraps", "root:word"} {
		_, err := img.New(t.Context(), container.Config{User: user})
		require.ErrorIs(t, err, ctor.ErrInvalid, user)
		cmd := c.Command(t.Context(), "true")
		cmd.User = user
		require.ErrorIs(t, cmd.Run(), ctor.ErrInvalid, user)
	}
	for user, want := range map[string]string{
		"last": "2147483647 2147483647 2147483647\n",
		"app":  "1000 1000 1000 1001\n",
	} {
		cmd := c.Command(t.Context(), "sh", "-c", "echo $(id -u) $(id -g) $(id -G)")
		cmd.User = user
		out, err := cmd.Output()
		require.NoError(t, err)
		require.Equal(t, want, string(out))
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

const nonsense = "::::::\na\nap:x:-1:-1::/:\n:\x00:app:x:y::\n\n:::\n\n"
