package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// result is what one run of the program gave.
type result struct {
	code           int
	stdout, stderr string
}

func hi(ctx context.Context, from *registry.Options, args ...string) result {
	var stdout, stderr bytes.Buffer
	h := hello{stdout: &stdout, stderr: &stderr, registry: from}
	code := h.run(ctx, args)
	return result{code, stdout.String(), stderr.String()}
}

// make hello runs this one, and shows what it says.
func TestHelloWorld(t *testing.T) {
	hub, options := hub(t)
	root := t.TempDir()
	first := hi(t.Context(), options, "-root", root)
	if testing.Verbose() {
		fmt.Print(first.stdout)
	}
	require.Zero(t, first.code, first.stderr)
	require.Empty(t, first.stderr)
	require.NotEmpty(t, hub.Requests())
	require.Regexp(t, `^Unable to find image 'hello-world:latest' locally
latest: Pulling from library/hello-world
([0-9a-f]{12}): Pulling fs layer
(?:[0-9a-f]{12}: Downloading\n)?[0-9a-f]{12}: Download complete
(?:[0-9a-f]{12}: Extracting\n)?[0-9a-f]{12}: Pull complete
Digest: sha256:[0-9a-f]{64}
Status: Downloaded newer image for hello-world:latest

Hello from ctor!
`, first.stdout)
	require.True(t, strings.HasSuffix(first.stdout, greeting), first.stdout)
	require.Empty(t, fixture.Host(t, root))

	hub.ResetRequests()
	second := hi(t.Context(), options, "-root", root)
	require.Equal(t, result{stdout: greeting}, second, "the second run finds the image")
	require.Empty(t, hub.Requests())
	require.Empty(t, fixture.Host(t, root))
}

// serve gives the name of a busybox image in a registry.
func serve(t *testing.T) (string, *registrytest.Server) {
	s := registrytest.NewServer(t, nil)
	e, err := ctor.Open(t.Context(), ctor.Config{Root: t.TempDir()})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	ref := s.Host + "/tools/busybox:1"
	require.NoError(t, fixture.Busybox(t, e).Push(t.Context(), ref, &image.PushOptions{Registry: s.Options()}))
	s.ResetRequests()
	return ref, s
}

func TestReal(t *testing.T) {
	t.Parallel()
	ref, s := serve(t)
	root := t.TempDir()
	r := hi(t.Context(), nil, "-root", root, ref, "sh", "-c", "echo out; echo err >&2; exit 3")
	require.Equal(t, 3, r.code, "the container's own")
	require.Equal(t, "err\n", r.stderr)
	require.Contains(t, r.stdout, "Unable to find image '"+ref+"' locally\n1: Pulling from tools/busybox\n")
	require.True(t, strings.HasSuffix(r.stdout, "Status: Downloaded newer image for "+ref+"\nout\n"), r.stdout)
	require.NotEmpty(t, s.Requests())

	s.ResetRequests()
	r = hi(t.Context(), nil, "-root", root, ref, "uname", "-s")
	require.Equal(t, result{stdout: "Linux\n"}, r)
	require.Empty(t, s.Requests())

	r = hi(t.Context(), nil, "-root", root, ref, "no-such-command")
	require.Equal(t, noCommand, r.code)
	require.Empty(t, r.stdout)
	require.Contains(t, r.stderr, "no-such-command")
	require.Empty(t, fixture.Host(t, root))
}

func TestErrors(t *testing.T) {
	t.Parallel()
	s := registrytest.NewServer(t, nil)
	file := t.TempDir() + "/file"
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for name, test := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"bad reference": {[]string{"Not/A/Reference"}, failed, []string{`"Not/A/Reference"`, "lower"}},
		"not found":     {[]string{s.Host + "/no/such:image"}, failed, []string{s.Host + "/no/such:image", "not found"}},
		"unreachable":   {[]string{"127.0.0.1:1/no/such:image"}, failed, []string{"127.0.0.1:1", "refused"}},
		"bad flag":      {[]string{"-rot", "x"}, failed, []string{"-rot", "usage: hello"}},
		"help":          {[]string{"-h"}, 0, []string{"usage: hello", "-root"}},
		"bad root":      {[]string{"-root", file}, failed, []string{file, "not a directory", "Root"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			r := hi(t.Context(), nil, append([]string{"-root", root}, test.args...)...)
			require.Equal(t, test.code, r.code)
			for _, s := range test.says {
				require.Contains(t, r.stderr, s)
			}
			require.NotContains(t, r.stdout, "Digest:")
			require.Empty(t, fixture.Host(t, root))
		})
	}
}

func TestLocked(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	defer e.Close()
	r := hi(t.Context(), nil, "-root", root)
	require.Equal(t, failed, r.code)
	require.Contains(t, r.stderr, "locked")
}

// A signal ends the program's context, and with it the container.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	ref, _ := serve(t)
	root := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h := hello{stdout: writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), "under way") {
			cancel()
		}
		return len(p), nil
	}), stderr: t.Output()}
	code := h.run(ctx, []string{"-root", root, ref, "sh", "-c", "echo under way; sleep 1000"})
	require.Equal(t, interrupted, code)
	require.Empty(t, fixture.Host(t, root))
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
