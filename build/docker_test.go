package build_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/build"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
)

// BenchmarkBesideDocker builds the four steps by turns: here, and with "docker build"
// and BuildKit against a dockerd of its own; with no cache, with all of it, and eight
// different ones at once: of eight equal ones Docker's builds one. What it reports are medians in milliseconds, and ours as a share of
// Docker's:
//
//	go test -run '^$' -bench BesideDocker -benchtime 20x .
func BenchmarkBesideDocker(b *testing.B) {
	d := newDocker(b)
	e := fixture.Open(b)
	base := fixture.Busybox(b, e)
	d.load(b, base)
	dirs := make([]string, 8)
	for n := range dirs {
		dirs[n] = b.TempDir()
		from := maps.Clone(fourSteps)
		from["Dockerfile"] = &fstest.MapFile{Data: append([]byte("# "+strconv.Itoa(n)+"\n"), bytes.ReplaceAll(from["Dockerfile"].Data, []byte("RUN "), []byte("RUN N="+strconv.Itoa(n)+"; "))...), Mode: 0o644}
		require.NoError(b, os.CopyFS(dirs[n], from))
	}

	one := func(noCache bool) func(n int) error {
		return func(n int) error {
			o := alone()
			o.NoCache, o.Tags = noCache, []string{"ctor.test/four:" + strconv.Itoa(n)}
			_, err := build.Build(b.Context(), e, os.DirFS(dirs[n]), o)
			return err
		}
	}
	docker := func(noCache bool) func(n int) error {
		return func(n int) error {
			return d.run("build", "--quiet", "--network=none", "--no-cache="+strconv.FormatBool(noCache), "--tag", "ctor.test/four:"+strconv.Itoa(n), dirs[n])
		}
	}
	for _, c := range []struct {
		name  string
		cold  bool
		width int
	}{{"cold", true, 1}, {"warm", false, 1}, {"cold8", true, 8}} {
		b.Run(c.name, func(b *testing.B) {
			ours, theirs := one(c.cold), docker(c.cold)
			require.NoError(b, ours(0))
			require.NoError(b, theirs(0))
			var here, there []time.Duration
			for b.Loop() {
				here = append(here, together(b, c.width, ours))
				there = append(there, together(b, c.width, theirs))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(ms(median(here)), "ctor-ms")
			b.ReportMetric(ms(median(there)), "docker-ms")
			b.ReportMetric(ms(median(here))/ms(median(there)), "ratio")
		})
	}
}

// together does something width times at once.
func together(b *testing.B, width int, do func(n int) error) time.Duration {
	start := time.Now()
	errs := make([]error, width)
	var wg sync.WaitGroup
	for n := range width {
		wg.Go(func() { errs[n] = do(n) })
	}
	wg.Wait()
	took := time.Since(start)
	require.NoError(b, errors.Join(errs...))
	return took
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// docker is a dockerd that ends with its benchmark. It makes no bridge and no rules.
type docker struct{ dir string }

func newDocker(b *testing.B) *docker {
	path, err := exec.LookPath("dockerd")
	if err != nil {
		b.Skip("apt-get install docker.io")
	}
	d := &docker{b.TempDir()}
	for _, made := range []string{"/etc/docker", "/etc/docker/key.json", "/run/docker"} {
		if _, err := os.Lstat(made); errors.Is(err, fs.ErrNotExist) { // no option changes these
			b.Cleanup(func() { _ = os.RemoveAll(made) })
		}
	}
	file := func(name string) string { return filepath.Join(d.dir, name) }
	require.NoError(b, os.WriteFile(file("config.json"), []byte("{}"), 0o600))
	cmd := exec.Command(path, "--host", "unix://"+file("sock"), "--data-root", file("root"), "--exec-root", file("exec"),
		"--pidfile", file("pid"), "--config-file", file("config.json"), "--storage-driver", "overlay2",
		"--iptables=false", "--ip6tables=false", "--bridge=none", "--ip-forward=false", "--ip-masq=false", "--userland-proxy=false",
		"--log-level", "error")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // whose end is the daemon's
		if err := cmd.Start(); err != nil {
			return
		}
		context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
		_ = cmd.Wait()
	}()
	b.Cleanup(func() { cancel(); <-ended })
	require.Eventually(b, func() bool { return d.run("version") == nil }, time.Minute, 50*time.Millisecond, "%s", &said)
	return d
}

// run runs the docker command of the same package.
func (d *docker) run(args ...string) error {
	cli := "/usr/bin/docker"
	if _, err := os.Stat(cli); err != nil {
		cli = "docker"
	}
	cmd := exec.Command(cli, args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+filepath.Join(d.dir, "sock"), "DOCKER_CONFIG="+d.dir, "DOCKER_CONTEXT=default", "DOCKER_BUILDKIT=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return errors.New(string(out) + err.Error())
	}
	return nil
}

// load gives an image to dockerd.
func (d *docker) load(b *testing.B, img *image.Image) {
	f, err := os.Create(filepath.Join(d.dir, "image.tar"))
	require.NoError(b, err)
	require.NoError(b, image.Export(b.Context(), io.Writer(f), img))
	require.NoError(b, f.Close())
	require.NoError(b, d.run("load", "--quiet", "--input", f.Name()))
}
