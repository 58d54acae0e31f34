package container_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/layer"
)

// changed is what a container has changed.
func changed(t testing.TB, c *container.Container) string {
	t.Helper()
	var list []string
	for ch, err := range c.Changes(t.Context()) {
		require.NoError(t, err)
		list = append(list, ch.String())
	}
	return strings.Join(list, ", ")
}

// Nothing but what the container does is listed: not what the runtime makes to
// mount on, in the image's directories and beside them.
func TestChanges(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	img, err := busybox(t).Derive(t.Context(), "ctor.test/changes", nil, fixture.Files(map[string]string{"srv/dir/file": "x", "srv/other": "y"}))
	require.NoError(t, err)
	mounts := []container.Mount{{Type: container.Tmpfs, Target: "/srv/mem"}, {Type: container.Tmpfs, Target: "/new/mem/here"}}
	for _, s := range states {
		for _, detach := range []bool{false, true} {
			c := inState(t, img, s, container.Config{Detach: detach, Mounts: mounts, Dir: "/work/dir"})
			require.Empty(t, changed(t, c), s)
			f := c.FS()
			for _, err := range []error{
				f.WriteFile("srv/dir/file", []byte("new"), 0),
				f.WriteFile("new/file", nil, 0o644),
				f.Remove("srv/other"),
				f.Remove("bin/yes"),
				f.Chmod("tmp", 0o755),
				f.MkdirAll("var/lib", 0o755),
			} {
				require.NoError(t, err)
			}
			require.Equal(t, "C /bin, D /bin/yes, A /new, A /new/file, C /srv, C /srv/dir, C /srv/dir/file, D /srv/other, C /tmp, A /var, A /var/lib", changed(t, c), s)
		}
	}
}

// The snapshotter that copies, and an image without layers, are no exception;
// and the image that Commit makes has these changes and no others.
func TestChangesCommitted(t *testing.T) {
	t.Parallel()
	for _, snapshotter := range []string{"overlayfs", "native"} {
		t.Run(snapshotter, func(t *testing.T) {
			t.Parallel()
			e, err := ctor.Open(t.Context(), ctor.Config{Root: t.TempDir(), Snapshotter: snapshotter})
			require.NoError(t, err)
			defer func() { require.NoError(t, e.Close()) }()
			img := fixture.Busybox(t, e)
			cfg := sh("echo more >>/etc/passwd; rm -r /home; mkdir -p /srv/a; ln -s /srv/a /srv/b; chmod 700 /root; : >>/etc/group; mv /bin/yes /bin/no")
			cfg.Mounts = []container.Mount{{Type: container.Tmpfs, Target: "/mem"}}
			c, err := img.Run(t.Context(), cfg)
			require.NoError(t, err)
			require.NoError(t, c.Wait(t.Context()))
			const want = "C /bin, A /bin/no, D /bin/yes, C /etc, C /etc/passwd, D /home, A /srv, A /srv/a, A /srv/b"
			require.Eventually(t, func() bool { return !hasTask(t, c) }, fixture.Patience, 5*time.Millisecond)
			before := fixture.Count(t, e)
			require.Equal(t, want, changed(t, c))
			before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })

			committed, err := image.Commit(t.Context(), c, "ctor.test/committed", nil)
			require.NoError(t, err)
			layers, err := committed.Layers(t.Context())
			require.NoError(t, err)
			only, err := layers[len(layers)-1].FS(t.Context())
			require.NoError(t, err)
			for _, name := range []string{"mem", "proc", "dev", "sys", "etc/hosts", "root"} {
				_, err := only.Open(name)
				require.Error(t, err, name)
			}
			next, err := committed.New(t.Context(), container.Config{})
			require.NoError(t, err)
			require.Empty(t, changed(t, next))
			b, err := next.FS().ReadFile("etc/passwd")
			require.NoError(t, err)
			require.True(t, strings.HasSuffix(string(b), "more\n"))

			scratch, err := image.New(t.Context(), e, "ctor.test/nothing", img.Spec().Config)
			require.NoError(t, err)
			bare, err := scratch.Run(t.Context(), container.Config{
				Args:   []string{"/bin/busybox", "touch", "/made"},
				Mounts: []container.Mount{{Source: "/bin/busybox", Target: "/bin/busybox"}},
			})
			require.NoError(t, err)
			require.NoError(t, bare.Wait(t.Context()))
			require.Equal(t, "A /made", changed(t, bare))
			for _, c := range []*container.Container{c, next, bare} {
				require.NoError(t, c.Close())
			}
		})
	}
}

// A list may be left early, and ends with an error where there is one.
func TestChangesEnd(t *testing.T) {
	t.Parallel()
	c := inState(t, busybox(t), container.Created, container.Config{})
	for _, name := range []string{"tmp/a", "tmp/b", "tmp/c"} {
		require.NoError(t, c.FS().WriteFile(name, nil, 0o644))
	}
	n := 0
	for _, err := range c.Changes(t.Context()) {
		require.NoError(t, err)
		if n++; n == 2 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for ch, err := range c.Changes(ctx) {
		cancel()
		if last = err; err != nil {
			require.Zero(t, ch)
		}
	}
	require.ErrorIs(t, last, context.Canceled)
	require.NoError(t, c.Close())
	for ch, err := range c.Changes(t.Context()) {
		require.ErrorIs(t, err, ctor.ErrNotFound)
		require.Equal(t, layer.Change{}, ch)
	}
}
