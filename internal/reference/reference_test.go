package reference_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/reference"
)

const sum = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParse(t *testing.T) {
	for _, tt := range []struct{ in, full string }{
		{"alpine", "docker.io/library/alpine:latest"},
		{"alpine:3.22", "docker.io/library/alpine:3.22"},
		{"library/alpine", "docker.io/library/alpine:latest"},
		{"user/app", "docker.io/user/app:latest"},
		{"docker.io/alpine", "docker.io/library/alpine:latest"},
		{"index.docker.io/alpine", "docker.io/library/alpine:latest"},
		{"index.docker.io/user/app:1", "docker.io/user/app:1"},
		{"localhost/x", "localhost/x:latest"},
		{"localhost:5000/x", "localhost:5000/x:latest"},
		{"127.0.0.1:5000/a/b:v1", "127.0.0.1:5000/a/b:v1"},
		{"[::1]:5000/x", "[::1]:5000/x:latest"},
		{"ghcr.io/a/b/c", "ghcr.io/a/b/c:latest"},
		{"alpine@" + sum, "docker.io/library/alpine@" + sum},
		{"alpine:3@" + sum, "docker.io/library/alpine:3@" + sum},
		{"x:5000", "docker.io/library/x:5000"},
		{"EXAMPLE.com/x", "EXAMPLE.com/x:latest"},
	} {
		t.Run(tt.in, func(t *testing.T) {
			r, err := reference.Parse(tt.in)
			require.NoError(t, err)
			require.Equal(t, tt.full, r.String())
			again, err := reference.Parse(r.String())
			require.NoError(t, err)
			require.Equal(t, r, again)
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", "it is empty"},
		{"Alpine", "repository name (library/Alpine) must be lowercase"},
		{"localhost:5000/App", "must be lowercase"},
		{sum[len("sha256:"):], "64-byte hexadecimal"},
		{"alpine:", "want [host[:port]/]name[:tag][@digest]"},
		{"alpine@sha256:abc", "want [host"},
		{"alpine:" + strings.Repeat("t", 129), "want [host"},
		{strings.Repeat("a", 256), "repository name must not be more than 255 characters"},
		{strings.Repeat("a/", 1000), "longer than 1024 bytes"},
		{"../etc/passwd", "want [host"},
		{"a//b", "want [host"},
		{"/a", "want [host"},
		{"a b", "want [host"},
		{"a\x00b", "want [host"},
		{"https://example.com/x", "want [host"},
		{"user:password@example.com/x", "want [host"},
	} {
		t.Run(tt.in, func(t *testing.T) {
			r, err := reference.Parse(tt.in)
			require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "invalid format: ")
			require.True(t, strings.HasPrefix(err.Error(), `reference "`), err.Error())
			require.Zero(t, r)
		})
	}
}

func TestParseOn(t *testing.T) {
	for _, tt := range []struct{ host, in, want string }{
		{"docker.io", "alpine", "docker.io/library/alpine:latest"},
		{"docker.io", "docker.io/alpine", "docker.io/library/alpine:latest"},
		{"localhost:5000", "alpine", "localhost:5000/alpine:latest"},
		{"localhost:5000", "user/app:v1", "localhost:5000/user/app:v1"},
		{"localhost:5000", "localhost:5000/app@" + sum, "localhost:5000/app@" + sum},
		{"localhost:5000", "localhost:5000/docker.io/library/alpine", "localhost:5000/docker.io/library/alpine:latest"},
		{"ghcr.io", "ghcr.io/ghcr.io/x", "ghcr.io/ghcr.io/x:latest"},
	} {
		r, err := reference.ParseOn(tt.host, tt.in)
		require.NoError(t, err, tt.in)
		require.Equal(t, tt.want, r.String())
	}
	for _, in := range []string{"quay.io/x", "localhost:5001/x", "localhost/x", "", "App", "@" + sum} {
		_, err := reference.ParseOn("localhost:5000", in)
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, in)
	}
	_, err := reference.ParseOn("localhost:5000", "quay.io/x")
	require.EqualError(t, err, `reference "quay.io/x": invalid format: it is not on localhost:5000: invalid argument`)
}

func TestHost(t *testing.T) {
	for in, want := range map[string]string{
		"docker.io":       "docker.io",
		"index.docker.io": "docker.io",
		"localhost":       "localhost",
		"localhost:5000":  "localhost:5000",
		"registry:443":    "registry:443",
		"[::1]:5000":      "[::1]:5000",
		"a.b-c.example":   "a.b-c.example",
	} {
		got, err := reference.Host(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got)
	}
	for _, in := range []string{"", "registry", "a.b/c", "http://a.b", "u:p@a.b", "a.b:x", "a.b?c", "a.b#c", "a.b ", "a.b\n", "-a.b", "..", strings.Repeat("a.", 200)} {
		_, err := reference.Host(in)
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, in)
	}
}

func TestName(t *testing.T) {
	r, err := reference.Parse("alpine:3@" + sum)
	require.NoError(t, err)
	require.Equal(t, "library/alpine@"+sum, r.Name())
	r.Digest = ""
	require.Equal(t, "library/alpine:3", r.Name())
}

// FuzzParse holds what callers rely on: a parsed reference reads back as
// itself, and its parts cannot leave their place in a URL or a path.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"alpine", "a/b:c", "localhost:5000/x@" + sum, "[::1]:1/x", "A/b", "a/../b", "x:y:z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := reference.Parse(s)
		if err != nil {
			require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
			require.Zero(t, r)
			return
		}
		again, err := reference.Parse(r.String())
		require.NoError(t, err)
		require.Equal(t, r, again)
		require.NotEmpty(t, r.Host)
		require.NotEmpty(t, r.Repository)
		require.False(t, r.Tag == "" && r.Digest == "")
		require.NotContains(t, r.Repository, "..")
		require.NotContains(t, r.Repository, "//")
		require.False(t, strings.ContainsAny(r.String(), " \t\r\n\x00?#%\\"))
		if r.Digest != "" {
			require.NoError(t, r.Digest.Validate())
		}
	})
}

func ExampleParse() {
	for _, s := range []string{"hello-world", "user/app:v1", "localhost:5000/x"} {
		r, err := reference.Parse(s)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(r)
	}
	// Output:
	// docker.io/library/hello-world:latest
	// docker.io/user/app:v1
	// localhost:5000/x:latest
}
