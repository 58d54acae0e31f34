package image_test

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

// The files of a real image, of two layers: what io/fs demands, links that are
// absolute, and one layer's files beside the other's.
func TestRealFS(t *testing.T) {
	t.Parallel()
	f := files(t, fixture.Nginx(t, containertest.Engine(t)))
	// Not all of etc: Debian has links there whose manual pages were left out.
	etc, err := fs.Sub(f, "etc/nginx")
	require.NoError(t, err)
	require.NoError(t, fstest.TestFS(etc, "nginx.conf", "sites-enabled/default"))
	for _, name := range []string{"bin/sh", "etc/os-release", "etc/alternatives/awk", "usr/sbin/nginx"} {
		b, err := f.ReadFile(name)
		require.NoError(t, err, name)
		require.NotEmpty(t, b, name)
	}
	to, err := f.ReadLink("var/log/nginx/access.log")
	require.NoError(t, err)
	require.Equal(t, "/dev/stdout", to)
}
