package build_test

import (
	"bytes"
	"net/url"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/build"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/fixture"
)

// mirror is where this host gets its Debian from.
func mirror(t *testing.T) *url.URL {
	u, err := url.Parse(fixture.Mirror(t.Context()))
	require.NoError(t, err)
	return u
}

// Real servers are installed by way of a policy that lets Debian's mirror pass and
// nothing else, and run. Which there are is in testdata/debian; each takes a
// quarter of a minute, so all of them are only built for CTOR_TEST_DEBIAN=all.
func TestDebian(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	fixture.Debian(t, e)
	at := mirror(t)
	var mu sync.Mutex
	asked := map[string]bool{}
	n := container.Out(egress.Watch(egress.Allow(at.Hostname()), func(d egress.Decision) {
		mu.Lock()
		defer mu.Unlock()
		asked[d.Address] = true
	}))
	for name, works := range map[string]struct {
		client []string
		want   string
	}{
		"redis":    {[]string{"redis-cli", "ping"}, "PONG\n"},
		"postgres": {[]string{"psql", "-Atc", "SELECT 6*7"}, "42\n"},
		"nginx":    {[]string{"bash", "-c", `exec 3<>/dev/tcp/127.0.0.1/80; printf 'GET / HTTP/1.0\r\n\r\n' >&3; grep -c "Welcome to nginx" <&3`}, "2\n"},
	} {
		if name != "redis" && os.Getenv("CTOR_TEST_DEBIAN") != "all" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			img, err := build.Build(t.Context(), e, os.DirFS("testdata/debian"), &build.Options{
				Target: name, Network: &n, Args: map[string]string{"MIRROR": at.String()},
			})
			require.NoError(t, err)
			var out bytes.Buffer
			c, err := img.Run(t.Context(), container.Config{Ready: container.Exec(works.client...), Stdout: &out, Stderr: &out})
			require.NoError(t, err, "%s", &out)
			got, err := c.Command(t.Context(), works.client[0], works.client[1:]...).Output()
			require.NoError(t, err)
			require.Equal(t, works.want, string(got))
			require.NoError(t, c.Close())
		})
	}
	for address := range asked {
		require.Contains(t, address, at.Hostname())
	}
	require.NotEmpty(t, asked)
}
