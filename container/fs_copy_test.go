package container_test

import (
	"context"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/layer"
)

// A tree goes out of one container and into another with all that it has.
func TestFSCopy(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	const prepare = `umask 022; mkdir -p /srv/app/dir; cd /srv/app; echo data >file; ln file hard; ln -s /srv/app/file link
		chmod 4751 file; chown 1000:1001 dir; touch -d @1234567890 file; mkfifo fifo; echo ready; sleep 1000`
	src := containertest.Run(t, img, sh(strings.Replace(prepare, "mkfifo fifo;", "", 1)))
	says(t, src, "ready")
	const list = `cd /srv/app; ls -ln --full-time . dir | grep -v ^total; cat file hard link`
	want, err := src.Command(t.Context(), "sh", "-c", list).Output()
	require.NoError(t, err)
	dst := containertest.Run(t, img, container.Config{Args: []string{"sleep", "1000"}, StopTimeout: -1})

	r, err := src.FS().CopyOut(t.Context(), "srv/app")
	require.NoError(t, err)
	require.NoError(t, dst.FS().Untar(t.Context(), "srv", r))
	require.NoError(t, r.Close())
	got, err := dst.Command(t.Context(), "sh", "-c", list).Output()
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))

	require.NoError(t, dst.FS().RemoveAll("srv"))
	sub, err := fs.Sub(src.FS(), "srv")
	require.NoError(t, err)
	require.NoError(t, dst.FS().CopyIn(t.Context(), "srv", sub))
	got, err = dst.Command(t.Context(), "sh", "-c", list).Output()
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))

	// And into an image.
	l, err := layer.FromTar(func() (io.ReadCloser, error) { return src.FS().CopyOut(t.Context(), "srv") })
	require.NoError(t, err)
	derived, err := img.Derive(t.Context(), "ctor.test/copied", nil, l)
	require.NoError(t, err)
	require.Equal(t, string(want), stdout(t, derived, sh(list)))
}

// A reader that is not read to its end, or at all, keeps nothing.
func TestFSCopyOutEnds(t *testing.T) {
	t.Parallel()
	c := idle(t)
	require.NoError(t, c.FS().WriteFile("tmp/big", make([]byte, 1<<20), 0o644))
	_, err := c.FS().CopyOut(t.Context(), "missing")
	require.ErrorIs(t, err, fs.ErrNotExist)
	read := func(r io.Reader) error {
		_, err := r.Read(make([]byte, 100))
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := c.FS().CopyOut(ctx, "tmp")
	require.NoError(t, err)
	require.NoError(t, read(r))
	cancel()
	for err = nil; err == nil; err = read(r) {
	}
	require.ErrorIs(t, err, context.Canceled)

	r, err = c.FS().CopyOut(t.Context(), "tmp")
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.ErrorIs(t, read(r), io.ErrClosedPipe)

	r, err = c.FS().CopyOut(t.Context(), "tmp")
	require.NoError(t, err)
	require.NoError(t, read(r))
	require.NoError(t, c.Close())
	for err = nil; err == nil; err = read(r) {
	}
	require.ErrorIs(t, err, fs.ErrClosed)
}
