package build_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/build"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/registry"
	"github.com/ctorhq/ctor/registry/registrytest"
)

// dockerfile is a context of a Dockerfile alone.
func dockerfile(lines ...string) fstest.MapFS {
	return fstest.MapFS{"Dockerfile": {Data: []byte(strings.Join(lines, "\n") + "\n"), Mode: 0o644}}
}

// alone are options for steps that need no network.
func alone() *build.Options { return &build.Options{Network: new(container.Network)} }

// seen collects what a build tells.
type seen struct {
	mu  sync.Mutex
	all []build.Progress
}

func (s *seen) add(p build.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, p)
}

// last gives the last state of the step whose name ends so.
func (s *seen) last(name string) build.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := build.State(-1)
	for _, p := range s.all {
		if strings.HasSuffix(p.Name, name) {
			state = p.State
		}
	}
	return state
}

// output gives what all steps wrote.
func (s *seen) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, p := range s.all {
		b.Write(p.Output)
	}
	return b.String()
}

func content(t testing.TB, img *image.Image, name string) string {
	t.Helper()
	root, err := img.FS(t.Context())
	require.NoError(t, err)
	defer root.Close()
	b, err := fs.ReadFile(root, name)
	require.NoError(t, err)
	return string(b)
}

func TestCache(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	var first *image.Image
	run := func(want build.State, o *build.Options) {
		e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
		require.NoError(t, err)
		defer func() { require.NoError(t, e.Close()) }()
		fixture.Busybox(t, e)
		var s seen
		o.Progress = s.add
		img, err := build.Build(t.Context(), e, dockerfile(
			"FROM ctor.test/busybox:1", "COPY Dockerfile /", "RUN cat /proc/sys/kernel/random/uuid > /uuid"), o)
		require.NoError(t, err)
		require.Equal(t, want, s.last("> /uuid"))
		if first == nil {
			first = img
		}
		if want == build.Cached {
			require.Equal(t, first.Digest(), img.Digest())
		} else if img != first {
			require.NotEqual(t, first.Digest(), img.Digest())
		}
	}
	run(build.Done, alone())
	run(build.Cached, alone()) // by another engine, as by another program
	o := alone()
	o.NoCache = true
	run(build.Done, o)
}

// A directory is built again by the next engine on the same root.
func TestReopen(t *testing.T) {
	t.Parallel()
	root, dir := t.TempDir(), t.TempDir()
	require.NoError(t, os.CopyFS(dir, dockerfile("FROM ctor.test/busybox:1", "COPY Dockerfile /", "RUN test -s /Dockerfile")))
	for range 3 {
		e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
		require.NoError(t, err)
		fixture.Busybox(t, e)
		_, err = build.Build(t.Context(), e, os.DirFS(dir), alone())
		require.NoError(t, err)
		require.NoError(t, e.Close())
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	fixture.Busybox(t, e)
	from := dockerfile("FROM ctor.test/busybox:1", "RUN dd if=/dev/urandom of=/large bs=1024 count=2048 2> /dev/null")
	var s seen
	o := alone()
	o.Progress = s.add
	img, err := build.Build(t.Context(), e, from, o)
	require.NoError(t, err)
	used, err := build.Usage(t.Context(), e)
	require.NoError(t, err)
	require.Greater(t, used, int64(2<<20))
	freed, err := build.Prune(t.Context(), e, &build.PruneOptions{Keep: 1 << 40})
	require.NoError(t, err)
	require.Zero(t, freed)
	freed, err = build.Prune(t.Context(), e, nil)
	require.NoError(t, err)
	require.Greater(t, freed, int64(2<<20))
	used, err = build.Usage(t.Context(), e)
	require.NoError(t, err)
	require.Zero(t, used)

	require.Len(t, content(t, img, "large"), 2<<20) // the image has what it needs
	_, err = build.Build(t.Context(), e, from, o)
	require.NoError(t, err)
	require.Equal(t, build.Done, s.last("2> /dev/null"))
	_, err = build.Prune(t.Context(), e, &build.PruneOptions{Keep: -1})
	require.ErrorIs(t, err, ctor.ErrInvalid)
}

// Only what is needed is read.
func TestOnlyNeeded(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	fixture.Busybox(t, e)
	from := watched{FS: dockerfile("FROM ctor.test/busybox:1", "COPY a/wanted /")}
	for _, name := range []string{"a/wanted", "a/other", "b/other"} {
		from.FS.(fstest.MapFS)[name] = &fstest.MapFile{Data: []byte(name), Mode: 0o644}
	}
	img, err := build.Build(t.Context(), e, &from, alone())
	require.NoError(t, err)
	require.Equal(t, "a/wanted", content(t, img, "wanted"))
	slices.Sort(from.opened)
	require.Equal(t, []string{"Dockerfile", "a/wanted"}, slices.Compact(from.opened))
}

// watched notes which files are opened.
type watched struct {
	fs.FS
	mu     sync.Mutex
	opened []string
}

func (w *watched) Open(name string) (fs.File, error) {
	f, err := w.FS.Open(name)
	if err == nil {
		if st, serr := f.Stat(); serr == nil && !st.IsDir() {
			w.mu.Lock()
			w.opened = append(w.opened, name)
			w.mu.Unlock()
		}
	}
	return f, err
}

// A file that changes, and keeps its size and has no time, is seen to change.
func TestContextWithoutTimes(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	fixture.Busybox(t, e)
	from := dockerfile("FROM ctor.test/busybox:1", "COPY file /")
	for _, text := range []string{"one", "two"} {
		from["file"] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
		img, err := build.Build(t.Context(), e, from, alone())
		require.NoError(t, err)
		require.Equal(t, text, content(t, img, "file"))
	}
}

func TestContextOnDisk(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	fixture.Busybox(t, e)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"Dockerfile": "FROM ctor.test/busybox:1\nCOPY . /all/\nRUN test \"$(cat /all/link)\" = text\n",
		"file":       "text", ".dockerignore": "Dockerfile\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640))
	}
	require.NoError(t, os.Symlink("file", filepath.Join(dir, "link")))
	img, err := build.Build(t.Context(), e, os.DirFS(dir), alone())
	require.NoError(t, err)
	require.Equal(t, "text", content(t, img, "all/file"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("else"), 0o640))
	_, err = build.Build(t.Context(), e, os.DirFS(dir), alone())
	var be *build.Error
	require.ErrorAs(t, err, &be)
	require.Equal(t, 1, be.ExitCode)
}

func TestTags(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	fixture.Busybox(t, e)
	from := dockerfile("FROM ctor.test/busybox:1", "LABEL a=tags")
	o := alone()
	img, err := build.Build(t.Context(), e, from, o)
	require.NoError(t, err)
	require.Regexp(t, "^ctor.local/build@sha256:", img.Ref())
	o.Tags = []string{"tagged", "ctor.test/tagged:2"}
	same, err := build.Build(t.Context(), e, from, o)
	require.NoError(t, err)
	require.Equal(t, "docker.io/library/tagged:latest", same.Ref())
	require.Equal(t, img.Digest(), same.Digest())
	other, err := image.Get(t.Context(), e, "ctor.test/tagged:2")
	require.NoError(t, err)
	require.Equal(t, img.Digest(), other.Digest())
}

func TestBaseFromRegistry(t *testing.T) {
	t.Parallel()
	s := registrytest.NewServer(t, &registrytest.Options{Username: "u", Password: "p"})
	e := fixture.Open(t)
	_, err := fixture.Busybox(t, e).Tag(t.Context(), s.Host+"/base:1")
	require.NoError(t, err)
	base, err := image.Get(t.Context(), e, s.Host+"/base:1")
	require.NoError(t, err)
	login := credentials(t, s.Host, "u", "p")
	require.NoError(t, base.Push(t.Context(), "", &image.PushOptions{Registry: login}))
	pinned := s.Host + "/base@" + base.Index().String()

	for _, ref := range []string{s.Host + "/base:1", s.Host + "/base:1@" + base.Index().String(), pinned} {
		other := fixture.Open(t)
		from := dockerfile("FROM "+ref, "RUN echo built > /built")
		o := alone()
		o.Pull = &image.PullOptions{Policy: image.PullNever, Registry: login}
		asked := len(s.Requests())
		_, err = build.Build(t.Context(), other, from, o)
		require.ErrorIs(t, err, ctor.ErrNotFound, ref)
		require.ErrorContains(t, err, "Dockerfile:1: FROM "+ref)
		require.Len(t, s.Requests(), asked, "nobody is called")

		o.Pull = &image.PullOptions{Registry: login}
		img, err := build.Build(t.Context(), other, from, o)
		require.NoError(t, err)
		require.Equal(t, "built\n", content(t, img, "built"))
		require.Greater(t, len(s.Requests()), asked)

		// Now it is there.
		asked = len(s.Requests())
		o.NoCache = true
		_, err = build.Build(t.Context(), other, from, o)
		require.NoError(t, err)
		require.Len(t, s.Requests(), asked, ref)
	}

	o := alone()
	o.Pull = &image.PullOptions{Registry: login}
	_, err = build.Build(t.Context(), e, dockerfile("FROM "+s.Host+"/nosuch:1"), o)
	require.ErrorIs(t, err, ctor.ErrNotFound)
	require.ErrorContains(t, err, "Dockerfile:1")
}

// ADD fetches by way of the steps' network.
func TestAdd(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	fixture.Busybox(t, e)
	var hits atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		fmt.Fprint(w, "fetched")
	}))
	defer s.Close()
	from := dockerfile("FROM ctor.test/busybox:1", "ADD "+s.URL+"/file /file")
	for _, n := range []container.Network{{}, container.Out(egress.Public)} {
		_, err := build.Build(t.Context(), e, from, &build.Options{Network: &n})
		require.ErrorContains(t, err, "127.0.0.1")
		require.ErrorContains(t, err, "Dockerfile:2: ADD")
		require.Zero(t, hits.Load())
	}
	img, err := build.Build(t.Context(), e, from, &build.Options{Network: new(container.Host())})
	require.NoError(t, err)
	require.Equal(t, "fetched", content(t, img, "file"))
	require.Positive(t, hits.Load())

	sum := digest.FromString("fetched")
	from = dockerfile("FROM ctor.test/busybox:1", "ADD --checksum="+sum.String()+" --chmod=0600 "+s.URL+"/file /file")
	img, err = build.Build(t.Context(), e, from, &build.Options{Network: new(container.Host())})
	require.NoError(t, err)
	require.Equal(t, "fetched", content(t, img, "file"))
	from = dockerfile("FROM ctor.test/busybox:1", "ADD --checksum="+digest.FromString("else").String()+" "+s.URL+"/file /file")
	_, err = build.Build(t.Context(), e, from, &build.Options{Network: new(container.Host())})
	require.ErrorContains(t, err, "digest mismatch")
}

// ADD unpacks an archive of the context, unless it is told not to.
func TestAddArchive(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	fixture.Busybox(t, e)
	from := dockerfile("FROM ctor.test/busybox:1", "ADD packed.tgz /in/", "ADD --unpack=false packed.tgz /as-it-is", "COPY packed.tgz /copied")
	packed := tarball(t, fstest.MapFS{"a/file": {Data: []byte("inside")}})
	from["packed.tgz"] = &fstest.MapFile{Data: packed, Mode: 0o644}
	img, err := build.Build(t.Context(), e, from, alone())
	require.NoError(t, err)
	require.Equal(t, "inside", content(t, img, "in/a/file"))
	require.Equal(t, string(packed), content(t, img, "as-it-is"))
	require.Equal(t, string(packed), content(t, img, "copied"))
}

// With SOURCE_DATE_EPOCH two engines make the same bytes, at different times and
// whatever the times of the context's files.
func TestReproducible(t *testing.T) {
	t.Parallel()
	var digests []digest.Digest
	for n := range 2 {
		e := fixture.Open(t)
		_, err := image.New(t.Context(), e, "ctor.test/base:1", ocispec.ImageConfig{Env: []string{"PATH=/bin"}}, fixture.BusyboxLayer(t))
		require.NoError(t, err)
		from := dockerfile(
			"FROM ctor.test/base:1 AS make",
			"WORKDIR /made/here",
			"RUN echo x > file && ln -s file link && mkdir dir && chmod 0700 dir",
			"FROM scratch",
			"COPY --from=make /made /made",
			"COPY a /a/",
			"ADD <<end /here", "text", "end",
			"LABEL is=reproducible",
		)
		from["a/file"] = &fstest.MapFile{Data: []byte("a"), Mode: 0o644, ModTime: time.Unix(1.7e9+int64(n), 0)}
		withDirs(from)
		o := alone()
		o.Args = map[string]string{"SOURCE_DATE_EPOCH": "1500000000"}
		img, err := build.Build(t.Context(), e, from, o)
		require.NoError(t, err)
		require.Equal(t, "x\n", content(t, img, "made/here/file"))
		require.EqualValues(t, 1500000000, img.Spec().Created.Unix())
		digests = append(digests, img.Digest())
	}
	require.Equal(t, digests[0], digests[1])
}

// A step reaches what the policy lets it reach, by the policy's dialer.
func TestNetworkPolicy(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	fixture.Busybox(t, e)
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "from the mirror") }))
	defer mirror.Close()
	var mu sync.Mutex
	var asked []string
	n := container.Out(func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, network+" "+address)
		if address != "mirror.test:80" {
			return nil, errors.New("not that one")
		}
		var d net.Dialer
		return d.DialContext(ctx, network, mirror.Listener.Addr().String())
	})
	img, err := build.Build(t.Context(), e, dockerfile("FROM ctor.test/busybox:1",
		`RUN printf 'GET / HTTP/1.0\r\n\r\n' | nc mirror.test 80 > /got && ! nc other.test 80 < /dev/null 2> /dev/null`), &build.Options{Network: &n})
	require.NoError(t, err)
	require.Contains(t, content(t, img, "got"), "\r\n\r\nfrom the mirror")
	require.Contains(t, asked, "tcp mirror.test:80")
	require.Contains(t, asked, "tcp other.test:80")
}

func TestCancel(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	fixture.Busybox(t, e)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	o := alone()
	o.Progress = func(p build.Progress) {
		if strings.Contains(string(p.Output), "at work") {
			cancel(why)
		}
	}
	_, err := build.Build(ctx, e, dockerfile("FROM ctor.test/busybox:1", "RUN echo at work; sleep 1000"), o)
	require.ErrorIs(t, err, why)
	list, err := container.List(t.Context(), e)
	require.NoError(t, err)
	require.Empty(t, list)
	require.Empty(t, fixture.Host(t, e.Root()))
}

// Close of the engine ends a build that is under way, and nothing of it stays.
func TestCloseWhileBuilding(t *testing.T) {
	warm(t)
	root := t.TempDir()
	before := fixture.Measure(t)
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	fixture.Busybox(t, e)
	working := make(chan struct{})
	failed := make(chan error)
	go func() {
		o := alone()
		o.Progress = func(p build.Progress) {
			if strings.Contains(string(p.Output), "at work") {
				close(working)
			}
		}
		_, err := build.Build(t.Context(), e, dockerfile("FROM ctor.test/busybox:1", "RUN echo at work; sleep 1000"), o)
		failed <- err
	}()
	<-working
	require.NoError(t, e.Close())
	require.ErrorIs(t, <-failed, ctor.ErrClosed)
	require.Empty(t, fixture.Host(t, root))
	before.Same(t)
}

// Engines with builders come and go, and nothing grows.
func TestNoLeaks(t *testing.T) {
	warm(t)
	before := fixture.Measure(t)
	for range 3 {
		warm(t)
	}
	before.Same(t)
}

// warm has an engine build something, and something that fails: BuildKit begins some
// things once in a program.
func warm(t *testing.T) {
	root := t.TempDir()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	fixture.Busybox(t, e)
	_, err = build.Build(t.Context(), e, dockerfile("FROM ctor.test/busybox:1", "COPY Dockerfile /", "RUN echo > /x"), alone())
	require.NoError(t, err)
	_, err = build.Build(t.Context(), e, dockerfile("FROM ctor.test/busybox:1", "RUN false"), alone())
	require.Error(t, err)
	o := alone()
	key, _ := newKey(t)
	o.SSH = map[string]build.SSH{"default": {Keys: [][]byte{key}}}
	o.Secrets = map[string][]byte{"secret": []byte("x")}
	o.Provenance = build.MaxProvenance
	o.CacheTo = []build.Cache{build.InDirectory(t.TempDir())}
	// A client of the agent that stays when its step ends.
	packed := tarball(t, dockerfile("FROM ctor.test/busybox:1", "RUN --mount=type=ssh --mount=type=secret,id=secret sleep 1000 | nc local:$SSH_AUTH_SOCK & sleep 0.1; test -S $SSH_AUTH_SOCK"))
	_, err = build.Tar(t.Context(), e, bytes.NewReader(packed), o)
	require.NoError(t, err)
	require.NoError(t, e.Close())
	require.Empty(t, fixture.Host(t, root))
}

func TestParallel(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	fixture.Busybox(t, e)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			img, err := build.Build(t.Context(), e, dockerfile("FROM ctor.test/busybox:1",
				"RUN echo parallel > /all", fmt.Sprintf("RUN echo %d > /n", n)), alone())
			if err != nil {
				t.Error(err)
				return
			}
			if got := content(t, img, "all") + content(t, img, "n"); got != fmt.Sprintf("parallel\n%d\n", n) {
				t.Errorf("%q", got)
			}
		})
	}
	wg.Wait()
}

// What a program that is killed in the middle of a build leaves, the next Open
// takes away.
func TestKill(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	fixture.Busybox(t, e)
	require.NoError(t, e.Close())
	cmd := startHelper(t, root)
	require.NotEmpty(t, fixture.Host(t, root))
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()

	e, err = ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	require.Empty(t, fixture.Host(t, root))
	img, err := build.Build(t.Context(), e, dockerfile("FROM ctor.test/busybox:1", "RUN --mount=type=cache,target=/c echo after > /x"), alone())
	require.NoError(t, err)
	require.Equal(t, "after\n", content(t, img, "x"))
}

func TestOptions(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	for name, o := range map[string]*build.Options{
		"tag":        {Tags: []string{"a b"}},
		"dockerfile": {Dockerfile: "/Dockerfile"},
		"up":         {Dockerfile: "../Dockerfile"},
		"context":    {Contexts: map[string]fs.FS{"context": fstest.MapFS{}}},
	} {
		_, err := build.Build(t.Context(), e, dockerfile("FROM scratch"), o)
		require.ErrorIs(t, err, ctor.ErrInvalid, name)
	}
}

func TestImageRunsAtOnce(t *testing.T) {
	t.Parallel()
	e := containertest.Engine(t)
	fixture.Busybox(t, e)
	img, err := build.Build(t.Context(), e, dockerfile("FROM ctor.test/busybox:1", `CMD ["echo", "hello"]`), alone())
	require.NoError(t, err)
	out, err := img.Command(t.Context(), "echo", "hello").Output()
	require.NoError(t, err)
	require.Equal(t, "hello\n", string(out))
}

// credentials are those of one registry.
func credentials(_ *testing.T, host, username, password string) *registry.Options {
	return &registry.Options{Credentials: func(_ context.Context, of string) (registry.Credential, error) {
		if of != host {
			return registry.Credential{}, nil
		}
		return registry.Credential{Username: username, Password: password}, nil
	}}
}

// A host without overlay has copies instead.
func TestNative(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	e := fixture.Engine(t, ctor.Config{Root: root, Snapshotter: "native"})
	base := fixture.Busybox(t, e)
	for _, name := range []string{"mounts", "stages", "hello"} {
		a, err := txtar.ParseFile("testdata/" + name + ".txtar")
		require.NoError(t, err)
		c := newTestCase(t, a, base.Ref())
		img, err := build.Build(t.Context(), e, c.context, &c.options)
		c.check(t, e, img, err)
	}
}
