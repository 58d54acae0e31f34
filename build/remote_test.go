package build_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/build"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

// gitServer serves the repositories below a directory, and counts requests.
type gitServer struct {
	*httptest.Server
	dir  string
	hits atomic.Int32
}

func newGitServer(t *testing.T) *gitServer {
	path, err := exec.Command("git", "--exec-path").Output()
	require.NoError(t, err)
	s := &gitServer{dir: t.TempDir()}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + s.dir, "GIT_HTTP_EXPORT_ALL=1"},
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// repository makes one of files, NAME.git, and gives its URL.
func (s *gitServer) repository(t *testing.T, name string, files fstest.MapFS, more ...[]string) string {
	dir := filepath.Join(s.dir, name+".git")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.CopyFS(dir, files))
	for _, args := range append(append([][]string{{"init", "-q", "-b", "main"}}, more...), []string{"add", "."}, []string{"commit", "-q", "-m", "first"}) {
		git(t, dir, args...)
	}
	return s.URL + "/" + name + ".git/.git" // ends with .git, and is the bare part
}

func git(t *testing.T, dir string, args ...string) string {
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@ctor.test", "-c", "protocol.file.allow=always"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "git %s: %s", strings.Join(args, " "), out)
	return strings.TrimSpace(string(out))
}

func TestRemoteGit(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	fixture.Busybox(t, e)
	s := newGitServer(t)
	url := s.repository(t, "shop", fstest.MapFS{
		"Dockerfile":     {Data: []byte("FROM ctor.test/busybox:1\nCOPY file /\n"), Mode: 0o644},
		"file":           {Data: []byte("top"), Mode: 0o644},
		"sub/Dockerfile": {Data: []byte("FROM ctor.test/busybox:1\nCOPY file /\nRUN test ! -e /sub\n"), Mode: 0o644},
		"sub/file":       {Data: []byte("below"), Mode: 0o644},
	})
	img, err := build.Remote(t.Context(), e, url, alone())
	require.NoError(t, err)
	require.Equal(t, "top", content(t, img, "file"))
	img, err = build.Remote(t.Context(), e, url+"#main:sub", alone())
	require.NoError(t, err)
	require.Equal(t, "below", content(t, img, "file"))

	// What has changed is fetched; a commit is what it was.
	dir := filepath.Join(s.dir, "shop.git")
	first := git(t, dir, "rev-parse", "HEAD")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("second"), 0o644))
	git(t, dir, "commit", "-qam", "second")
	for ref, want := range map[string]string{"": "second", "#" + first: "top"} {
		img, err = build.Remote(t.Context(), e, url+ref, alone())
		require.NoError(t, err)
		require.Equal(t, want, content(t, img, "file"))
	}

	require.NoError(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM ctor.test/busybox:1\nRUN false\n"), 0o644))
	git(t, dir, "commit", "-qam", "third")
	_, err = build.Remote(t.Context(), e, url, alone())
	var be *build.Error
	require.ErrorAs(t, err, &be)
	require.Equal(t, "Dockerfile:2:RUN false", be.File+":2:"+be.Instruction)
	_, err = build.Remote(t.Context(), e, url+"#nosuch", alone())
	require.ErrorContains(t, err, "nosuch")
}

// The program names a repository, and the repository others: those are fetched only
// where steps have the host's network as well. A Dockerfile names none for itself.
func TestRemoteSubmodules(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	fixture.Busybox(t, e)
	other, s := newGitServer(t), newGitServer(t)
	inner := other.repository(t, "inner", fstest.MapFS{"file": {Data: []byte("inner"), Mode: 0o644}})
	url := s.repository(t, "outer", dockerfile("FROM ctor.test/busybox:1", "COPY . /all"), []string{"submodule", "--quiet", "add", inner, "inner"})
	asked := other.hits.Load()
	img, err := build.Remote(t.Context(), e, url, alone())
	require.NoError(t, err)
	require.Equal(t, asked, other.hits.Load())
	require.Contains(t, content(t, img, "all/.gitmodules"), inner)

	img, err = build.Remote(t.Context(), e, url, &build.Options{Network: new(container.Host())})
	require.NoError(t, err)
	require.Equal(t, "inner", content(t, img, "all/inner/file"))

	asked = other.hits.Load()
	add := dockerfile("FROM ctor.test/busybox:1", "ADD "+inner+" /added")
	_, err = build.Build(t.Context(), e, add, alone())
	require.ErrorIs(t, err, ctor.ErrInvalid)
	require.ErrorContains(t, err, "Dockerfile:2: ADD")
	require.Equal(t, asked, other.hits.Load())
	img, err = build.Build(t.Context(), e, add, &build.Options{Network: new(container.Host())})
	require.NoError(t, err)
	require.Equal(t, "inner", content(t, img, "added/file"))
}

// sshServer accepts connections, and says nothing.
func sshServer(t *testing.T) (host string, asked <-chan struct{}) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	accepted := make(chan struct{}, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			accepted <- struct{}{}
		}
	}()
	return l.Addr().String(), accepted
}

// No Dockerfile and no base image has this host ask an ssh server, and one that says
// nothing does not hold up a build that ends.
func TestRemoteSSH(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	fixture.Busybox(t, e)
	host, asked := sshServer(t)
	url := "ssh://git@" + host + "/x.git"
	base := dockerfile("FROM ctor.test/busybox:1", "ENV WHERE="+url)
	_, err := build.Build(t.Context(), e, base, &build.Options{Tags: []string{"ctor.test/where:1"}})
	require.NoError(t, err)
	for _, lines := range [][]string{
		{"FROM ctor.test/busybox:1", "ADD " + url + " /x"},
		{"FROM ctor.test/busybox:1", "ADD 's'sh" + strings.TrimPrefix(url, "ssh") + " /x"},
		{"FROM ctor.test/busybox:1", "ADD git@127.0.0.1:x.git /x"},
		{"FROM ctor.test/busybox:1", "ARG A=ssh", "ARG B=${A}:", "ADD ${B}//" + host + "/x.git /x"},
		{"FROM ctor.test/busybox:1", "ENV A=https://" + host + "/x.git", "ADD s${A#http}sh /x"},
		{"FROM ctor.test/busybox:1 AS one", "ONBUILD ADD " + url + " /x", "FROM one"},
		{"FROM ctor.test/where:1", "ADD $WHERE /x"},
	} {
		_, err := build.Build(t.Context(), e, dockerfile(lines...), alone())
		require.ErrorIs(t, err, ctor.ErrInvalid, "%q", lines)
		require.ErrorContains(t, err, "ssh server", "%q", lines)
		require.Empty(t, asked, "%q", lines)
	}

	from := dockerfile("FROM ctor.test/busybox:1", "ARG DIR=sub", "ARG NAME=${DIR}/a:b@c", "ADD $NAME /x")
	from["sub/a:b@c"] = &fstest.MapFile{Data: []byte("local"), Mode: 0o644}
	img, err := build.Build(t.Context(), e, from, alone())
	require.NoError(t, err)
	require.Equal(t, "local", content(t, img, "x"))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-asked
		cancel()
	}()
	_, err = build.Remote(ctx, e, url, alone())
	require.ErrorIs(t, err, context.Canceled)
}

// tarball packs files.
func tarball(t *testing.T, fsys fstest.MapFS) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, f := range fsys {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(f.Data)), ModTime: time.Unix(1e9, 0)}))
		_, err := w.Write(f.Data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	return b.Bytes()
}

func TestRemoteHTTP(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	fixture.Busybox(t, e)
	from := dockerfile("FROM ctor.test/busybox:1", "COPY file /", "RUN test -s /file")
	from["file"] = &fstest.MapFile{Data: []byte("packed")}
	packed := tarball(t, from)
	mux := http.NewServeMux()
	mux.HandleFunc("/context.tgz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(packed) })
	mux.HandleFunc("/alone", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "FROM ctor.test/busybox:1\nRUN echo alone > /file\n")
	})
	mux.Handle("/elsewhere", http.RedirectHandler("/context.tgz", http.StatusFound))
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)

	img, err := build.Remote(t.Context(), e, s.URL+"/context.tgz", alone())
	require.NoError(t, err)
	require.Equal(t, "packed", content(t, img, "file"))
	img, err = build.Remote(t.Context(), e, s.URL+"/alone", alone())
	require.NoError(t, err)
	require.Equal(t, "alone\n", content(t, img, "file"))

	// Where a server leads to is not the program's choice.
	_, err = build.Remote(t.Context(), e, s.URL+"/elsewhere", nil)
	require.ErrorContains(t, err, "127.0.0.1")
	_, err = build.Remote(t.Context(), e, s.URL+"/elsewhere", &build.Options{Network: new(container.Host())})
	require.NoError(t, err)

	_, err = build.Remote(t.Context(), e, s.URL+"/nosuch", alone())
	require.ErrorIs(t, err, ctor.ErrNotFound)
	for _, url := range []string{"", "/etc", "ftp://ctor.test/x", "https://ctor.test/x.git?what=1"} {
		_, err = build.Remote(t.Context(), e, url, alone())
		require.ErrorIs(t, err, ctor.ErrInvalid, url)
	}
}

func TestTar(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	fixture.Busybox(t, e)
	for _, text := range []string{"one", "two"} { // of the same size
		from := dockerfile("FROM ctor.test/busybox:1", "COPY file /", "RUN test -s /file")
		from["file"] = &fstest.MapFile{Data: []byte(text)}
		img, err := build.Tar(t.Context(), e, bytes.NewReader(tarball(t, from)), alone())
		require.NoError(t, err)
		require.Equal(t, text, content(t, img, "file"))
	}
	img, err := build.Tar(t.Context(), e, strings.NewReader("FROM ctor.test/busybox:1\nRUN echo x > /file\n"), alone())
	require.NoError(t, err)
	require.Equal(t, "x\n", content(t, img, "file"))
	_, err = build.Tar(t.Context(), e, strings.NewReader("FROM ctor.test/busybox:1\nRUN false\n"), alone())
	require.ErrorContains(t, err, "Dockerfile:2: RUN false")
}
