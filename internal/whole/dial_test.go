package whole

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/fixture"
)

// daemon starts a containerd of the test's own and gives its socket. It is
// ended, and what it leaves removed, when the test ends.
func daemon(t *testing.T) (socket string) {
	t.Helper()
	path, err := exec.LookPath("containerd")
	require.NoError(t, err, "Dial is tested against Debian's containerd: apt-get install containerd")
	dir, err := os.MkdirTemp("", "ctor-cd-") // a socket's path must be short
	require.NoError(t, err)
	socket = filepath.Join(dir, "sock")
	config := filepath.Join(dir, "config.toml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = %q
`, dir+"/root", dir+"/state", socket), 0o600))
	var out lockedBuffer
	cmd := exec.Command(path, "--config", config)
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("containerd: %v\n%s", err, tail(out.String()))
		}
		fixture.Remains{}.Same(t, func() fixture.Remains { return fixture.Host(t, dir) })
		require.NoError(t, os.RemoveAll(dir))
	})
	require.Eventually(t, func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
	return socket
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

// dial dials a daemon and, when the test ends, removes all that is in it.
func dial(t *testing.T, socket, root string) *ctor.Engine {
	t.Helper()
	e, err := ctor.Dial(t.Context(), socket, ctor.Config{Root: root})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, e.Close())
		cgroup.RemoveEmpty(cgroup.Parent(e.Root(), "ctor")) // nobody knows here who needs it next
	})
	return e
}

// helpDialed runs containers on a containerd and waits.
func helpDialed(args []string) error {
	ctx := context.Background()
	e, err := ctor.Dial(ctx, args[0], ctor.Config{Root: args[1]})
	if err != nil {
		return err
	}
	img, err := image.Get(ctx, e, "ctor.test/busybox:1")
	if err != nil {
		return err
	}
	for name, cfg := range map[string]container.Config{
		"attached": {},
		"detached": {Detach: true},
		"kept":     {Keep: true},
	} {
		cfg.Name, cfg.Args = name, []string{"sh", "-c", "echo from " + name + "; exec sleep 1000"}
		if _, err := img.Run(ctx, cfg); err != nil {
			return err
		}
	}
	// Another program must not take this for its own, nor start it on streams
	// that are this one's.
	if _, err := img.New(ctx, container.Config{Name: "made", Keep: true, Args: []string{"echo", "hello"}}); err != nil {
		return err
	}
	ready()
	return e.Close()
}

// dialed is what the parts of TestDial share.
type dialed struct {
	socket, root string
	e            *ctor.Engine
	img          *image.Image
	ref          string          // of an image in a registry
	before       fixture.Remains // with img
}

// same waits until nothing but before is there.
func (d *dialed) same(t *testing.T) {
	t.Helper()
	d.before.Same(t, func() fixture.Remains { return fixture.Count(t, d.e) })
}

// TestDial runs the whole flow on Debian's containerd.
func TestDial(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a containerd")
	}
	d := dialed{socket: daemon(t), root: t.TempDir(), ref: push(t)}
	d.e = dial(t, d.socket, d.root)
	require.Equal(t, "overlayfs", d.e.Snapshotter())
	require.NoDirExists(t, filepath.Join(d.root, "containerd"), "its store is the daemon's")
	empty := fixture.Count(t, d.e)
	require.Empty(t, empty)
	d.img = fixture.Busybox(t, d.e)
	require.Equal(t, "hi\n", fixture.Echo(t, d.e, "first", "hi")) // unpacks it
	d.before = fixture.Count(t, d.e)

	t.Run("info", d.info)
	t.Run("images", d.images)
	t.Run("names", d.names)
	t.Run("stop", d.stop)
	t.Run("commands", d.commands)
	t.Run("network", d.network)
	t.Run("files", d.files)
	t.Run("again", d.again)
	t.Run("errors", d.errors)
	t.Run("programs that were closed", func(t *testing.T) { d.programs(t, (*fixture.Started).End) })
	t.Run("programs that were killed", func(t *testing.T) { d.programs(t, (*fixture.Started).Kill) })
	t.Run("sweep", d.sweep)
	t.Run("close", d.close)
	require.NoError(t, d.img.Remove(t.Context()))
	empty.Same(t, func() fixture.Remains { return fixture.Count(t, d.e) })
}

func (d *dialed) info(t *testing.T) {
	i, err := d.e.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, d.root, i.Root)
	require.Regexp(t, `^\d+\.\d+\.\d+`, i.Containerd)
	require.Empty(t, i.Shim)
	if strings.HasPrefix(i.Containerd, "1.") {
		require.Empty(t, i.Executor, "it does not tell")
	}
	require.NotEmpty(t, i.Seccomp)
	require.NotEmpty(t, i.Cgroup)
}

func (d *dialed) images(t *testing.T) {
	pulled, err := image.Pull(t.Context(), d.e, d.ref, nil)
	require.NoError(t, err)
	var archive bytes.Buffer
	require.NoError(t, image.Export(t.Context(), &archive, pulled))
	require.NoError(t, pulled.Remove(t.Context()))
	list, err := image.Import(t.Context(), d.e, &archive)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, d.ref, list[0].Ref())
	made, err := list[0].Derive(t.Context(), "derived", func(c *ocispec.ImageConfig) { c.Cmd = []string{"echo", "derived"} })
	require.NoError(t, err)
	var out strings.Builder
	c, err := made.Run(t.Context(), container.Config{Stdout: &out})
	require.NoError(t, err)
	require.NoError(t, c.Wait(t.Context()))
	require.Equal(t, "derived\n", out.String())
	committed, err := image.Commit(t.Context(), c, "committed", nil)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	for _, i := range append(list, made, committed) {
		require.NoError(t, i.Remove(t.Context()))
	}
	d.same(t)
}

// The program is in a container's network as with services of its own.
func (d *dialed) network(t *testing.T) {
	c, err := d.img.Run(t.Context(), container.Config{Args: []string{"sleep", "1000"}})
	require.NoError(t, err)
	defer c.Close()
	for network, address := range map[string]string{"tcp": "127.0.0.1:80", "unix": "/tmp/sock"} {
		l, err := c.Listen(t.Context(), network, address)
		require.NoError(t, err)
		conn, err := c.Dial(t.Context(), network, address)
		require.NoError(t, err)
		defer conn.Close()
		accepted, err := l.Accept()
		require.NoError(t, err)
		accepted.Close()
	}
	_, err = c.Dial(t.Context(), "tcp", "localhost:81")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.NoError(t, c.Close())
	d.same(t)
}

// So are the files of the image and of containers, running or not.
func (d *dialed) files(t *testing.T) {
	f, err := d.img.FS(t.Context())
	require.NoError(t, err)
	want, err := f.ReadFile("etc/passwd")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	c, err := d.img.Run(t.Context(), container.Config{Args: []string{"sleep", "1000"}, StopTimeout: -1})
	require.NoError(t, err)
	defer c.Close()
	for range 2 {
		got, err := c.FS().ReadFile("etc/passwd")
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
		want = append(want, "more"...)
		require.NoError(t, c.FS().WriteFile("etc/passwd", want, 0))
		require.NoError(t, c.Stop(t.Context()))
	}
	require.NoError(t, c.Close())
	d.same(t)
}

func (d *dialed) stop(t *testing.T) {
	c, err := d.img.Run(t.Context(), container.Config{Args: []string{"sh", "-c", "trap 'echo bye; exit 7' TERM; echo hi; while :; do sleep 0.01; done"}})
	require.NoError(t, err)
	logs, err := c.Logs(t.Context(), &container.LogOptions{Follow: true})
	require.NoError(t, err)
	defer logs.Close()
	hi := make([]byte, 3)
	_, err = io.ReadFull(logs, hi)
	require.NoError(t, err)
	require.NoError(t, c.Stop(t.Context()))
	var exit *container.ExitError
	require.ErrorAs(t, c.Wait(t.Context()), &exit)
	require.Equal(t, 7, exit.Code)
	bye, err := io.ReadAll(logs)
	require.NoError(t, err)
	require.Equal(t, "hi\nbye\n", string(hi)+string(bye))
	require.NoError(t, c.Close())
}

func (d *dialed) errors(t *testing.T) {
	_, err := d.img.New(t.Context(), container.Config{Args: []string{"no-such-command"}})
	require.ErrorIs(t, err, ctor.ErrNotFound)
	_, err = image.Get(t.Context(), d.e, "nobody")
	require.ErrorIs(t, err, ctor.ErrNotFound)
}

func (d *dialed) sweep(t *testing.T) {
	leave(t, d.e, engine.Owner())
	left := fixture.Count(t, d.e)
	require.NoError(t, dial(t, d.socket, d.root).Close())
	require.Equal(t, left, fixture.Count(t, d.e), "its owner lives")
	ctx := d.e.Context(t.Context())
	require.NoError(t, d.e.Containerd().ContainerService().Delete(ctx, "no-snapshot"))
	require.NoError(t, d.e.Containerd().SnapshotService("overlayfs").Remove(ctx, "no-record"))
	for _, id := range []string{"a-call", "ctor.name.unowned", "ctor.name.unmade"} {
		require.NoError(t, d.e.Containerd().LeasesService().Delete(ctx, leases.Lease{ID: id}))
	}

	leave(t, d.e, deadOwner)
	require.NoError(t, dial(t, d.socket, d.root).Close())
	d.same(t)
}

func (d *dialed) close(t *testing.T) {
	before := fixture.Measure(t)
	next := dial(t, d.socket, d.root)
	_, err := d.img.Run(t.Context(), container.Config{Name: "other's", Args: []string{"sleep", "1000"}})
	require.ErrorIs(t, err, ctor.ErrInvalid)
	nextImg, err := image.Get(t.Context(), next, d.img.Ref())
	require.NoError(t, err)
	_, err = nextImg.Run(t.Context(), container.Config{Args: []string{"sleep", "1000"}})
	require.NoError(t, err)
	require.NoError(t, next.Close())
	require.NoError(t, next.Close())
	_, err = image.Get(t.Context(), next, "a")
	require.ErrorIs(t, err, ctor.ErrClosed)
	d.same(t)
	before.Same(t)
}

// again starts containers of each kind again.
func (d *dialed) again(t *testing.T) {
	for kind, cfg := range map[string]container.Config{"attached": {}, "detached": {Detach: true}, "kept": {Keep: true}} {
		cfg.Args = []string{"sh", "-c", "n=$(cat /n 2>/dev/null); n=$((n+1)); echo $n >/n; echo life $n; exit $n"}
		c, err := d.img.New(t.Context(), cfg)
		require.NoError(t, err)
		defer c.Remove(context.WithoutCancel(t.Context()))
		follower, err := c.Logs(t.Context(), &container.LogOptions{Follow: true})
		require.NoError(t, err)
		want := ""
		for n := 1; n <= 3; n++ {
			require.NoError(t, c.Start(t.Context()), kind)
			var exit *container.ExitError
			require.ErrorAs(t, c.Wait(t.Context()), &exit)
			require.Equal(t, n, exit.Code)
			i, err := c.Info(t.Context())
			require.NoError(t, err)
			require.Equal(t, n, i.Lives)
			require.Equal(t, n, i.ExitCode)
			life := fmt.Sprintf("life %d\n", n)
			want += life
			b, err := io.ReadAll(follower)
			require.NoError(t, err)
			require.Equal(t, life, string(b), kind)
		}
		logs, err := c.Logs(t.Context(), nil)
		require.NoError(t, err)
		b, err := io.ReadAll(logs)
		require.NoError(t, err)
		require.Equal(t, want, string(b))
		require.NoError(t, logs.Close())
		require.NoError(t, follower.Close())
		require.NoError(t, c.Remove(t.Context()))
	}
	d.same(t)
}

// programs of others that have containers here are left in peace while they
// live, and swept after.
func (d *dialed) programs(t *testing.T, end func(*fixture.Started, testing.TB)) {
	h := fixture.Start(t, fixture.Program("dialed", d.socket, d.root))
	// While it lives, nobody sweeps what it has.
	other := dial(t, d.socket, d.root)
	c, err := container.Get(t.Context(), other, "attached")
	require.NoError(t, err)
	i, err := c.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, container.Running, i.State)
	made, err := container.Get(t.Context(), other, "made")
	require.NoError(t, err)
	require.ErrorIs(t, made.Start(t.Context()), ctor.ErrInvalid)
	end(h, t)

	next := dial(t, d.socket, d.root)
	_, err = container.Get(t.Context(), next, "attached")
	require.ErrorIs(t, err, ctor.ErrNotFound)
	c, err = container.Get(t.Context(), next, "detached")
	require.NoError(t, err)
	i, err = c.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, container.Running, i.State)
	logs, err := c.Logs(t.Context(), nil)
	require.NoError(t, err)
	all, err := io.ReadAll(logs)
	require.NoError(t, err)
	require.NoError(t, logs.Close())
	require.Equal(t, "from detached\n", string(all))
	require.NoError(t, c.Close())
	kept, err := container.Get(t.Context(), next, "kept")
	require.NoError(t, err)
	i, err = kept.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, container.Exited, i.State)
	require.Equal(t, 1, i.Lives)
	require.NoError(t, kept.Start(t.Context()))
	require.NoError(t, kept.WaitReady(t.Context(), container.Log("from kept", 1)))
	_, err = container.Get(t.Context(), other, "kept")
	require.NoError(t, err, "it is this program's, and another engine's")
	require.NoError(t, other.Close())
	i, err = kept.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, container.Running, i.State)
	require.Equal(t, 2, i.Lives)
	require.NoError(t, kept.Remove(t.Context()))
	made, err = container.Get(t.Context(), next, "made")
	require.NoError(t, err)
	i, err = made.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, container.Created, i.State)
	require.NoError(t, made.Start(t.Context()))
	require.NoError(t, made.Wait(t.Context()))
	logs, err = made.Logs(t.Context(), nil)
	require.NoError(t, err)
	all, err = io.ReadAll(logs)
	require.NoError(t, err)
	require.NoError(t, logs.Close())
	require.Equal(t, "hello\n", string(all))
	require.NoError(t, made.Remove(t.Context()))
	d.same(t)
	require.NoError(t, next.Close())
}
