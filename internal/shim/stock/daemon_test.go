package stock_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/link"
)

const image = "docker.io/library/stock:1"

// release is a containerd: the daemon, its client, and where its own shim is.
type release struct{ containerd, ctr, dir string }

// installed is the host's own.
func installed(t *testing.T) release {
	for _, name := range []string{"containerd", "ctr"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("no %s: apt-get install containerd", name)
		}
	}
	return release{"containerd", "ctr", "/usr/bin"}
}

// built is the version that this module uses, made of its source: two minutes of
// a processor the first time, a few seconds from Go's cache.
func built(t *testing.T) release {
	if testing.Short() {
		t.Skip("it compiles containerd")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go to compile containerd with: install it from https://go.dev/dl")
	}
	dir := t.TempDir()
	const from = "github.com/containerd/containerd/v2/cmd/"
	// Without the plugins that bring Kubernetes, LVM and tracing.
	cmd := exec.Command("go", "build", "-tags", "no_cri,no_btrfs,no_devmapper,no_zfs,no_tracing", "-o", dir,
		from+"containerd", from+"ctr", from+"containerd-shim-runc-v2")
	cmd.Dir = "containerd"
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return release{filepath.Join(dir, "containerd"), filepath.Join(dir, "ctr"), dir}
}

// daemon is a containerd of the test's own.
type daemon struct {
	*testing.T
	release
	dir, socket, namespace string
	others                 []string // sockets of shims that are none of ours
	cmd                    *exec.Cmd
}

func newDaemon(t *testing.T, r release) *daemon {
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("no runc: apt-get install runc")
	}
	dir, err := os.MkdirTemp("", "stock-") // a short path: it has sockets
	require.NoError(t, err)
	others, err := filepath.Glob("/run/containerd/s/ctor-*")
	require.NoError(t, err)
	d := &daemon{T: t, release: r, others: others, dir: dir, socket: filepath.Join(dir, "c.sock"), namespace: fmt.Sprint("stock-", os.Getpid())}
	require.NoError(t, os.Mkdir(d.path("bin"), 0o755))
	self, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, os.Symlink(self, d.path("bin", link.Name)))
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [%q, %q, %q]\n[grpc]\naddress = %q\n",
		d.path("root"), d.path("state"), "io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.devmapper", d.socket)
	require.NoError(t, os.WriteFile(d.path("config.toml"), []byte(config), 0o600))
	t.Cleanup(func() {
		if t.Failed() {
			d.kill()
		}
		d.stop()
		require.NoError(t, os.RemoveAll(dir))
	})
	d.start()
	d.importImage()
	return d
}

func (d *daemon) path(elem ...string) string {
	return filepath.Join(append([]string{d.dir}, elem...)...)
}

func (d *daemon) start() {
	d.Helper()
	log, err := os.OpenFile(d.path("log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(d, err)
	defer log.Close()
	d.cmd = exec.Command(d.containerd, "--config", d.path("config.toml"))
	d.cmd.Env = append(os.Environ(), "PATH="+d.path("bin")+":"+d.release.dir+":"+os.Getenv("PATH"))
	d.cmd.Stdout, d.cmd.Stderr = log, log
	require.NoError(d, d.cmd.Start())
	d.soon("containerd", func() bool { _, err := d.try("version"); return err == nil })
}

func (d *daemon) stop() {
	_ = d.cmd.Process.Signal(unix.SIGTERM)
	_ = d.cmd.Wait()
	if d.Failed() {
		log, _ := os.ReadFile(d.path("log"))
		d.Logf("containerd's log:\n%s", log)
	}
}

// kill has containerd undo what a failed test has left: it does so for a shim
// that is dead.
func (d *daemon) kill() {
	for _, pid := range shims(d.T, d.dir) {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	assert.Eventually(d, func() bool {
		left, _ := filepath.Glob(d.path("state", "io.containerd.runtime.v2.task", d.namespace, "*"))
		return len(left) == 0
	}, 10*time.Second, 20*time.Millisecond)
}

func (d *daemon) soon(what string, ok func() bool) {
	d.Helper()
	require.Eventually(d, ok, 30*time.Second, 20*time.Millisecond, what)
}

// try calls ctr and gives its output, and where that fails what it complains of:
// releases differ in what they warn of.
func (d *daemon) try(args ...string) (string, error) {
	for i, a := range args {
		if a == "run" || a == "exec" {
			args = slices.Insert(slices.Clone(args), i+1, "--fifo-dir", d.path("fifo"))
			break
		}
	}
	cmd := exec.Command(d.release.ctr, append([]string{"-a", d.socket, "-n", d.namespace}, args...)...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		out = append(out, complaint.Bytes()...)
	}
	return strings.TrimSpace(string(out)), err
}

func (d *daemon) ctr(args ...string) string {
	d.Helper()
	out, err := d.try(args...)
	require.NoError(d, err, "ctr %q: %s", args, out)
	return out
}

// run starts a container in the background.
func (d *daemon) run(id string, args ...string) {
	d.Helper()
	d.ctr(append([]string{"run", "-d", "--runtime", link.Runtime, image, id}, args...)...)
}

// status is a task's, as ctr lists it; "" is none.
func (d *daemon) status(id string) string {
	d.Helper()
	for line := range strings.Lines(d.ctr("task", "ls")) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == id {
			return f[2]
		}
	}
	return ""
}

// importImage makes an image of busybox, as docker save would write it.
func (d *daemon) importImage() {
	d.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	require.NoError(d, err, "apt-get install busybox-static")
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	require.NoError(d, w.WriteHeader(&tar.Header{Name: "bin/busybox", Mode: 0o755, Size: int64(len(busybox)), Typeflag: tar.TypeReg}))
	_, err = w.Write(busybox)
	require.NoError(d, err)
	for _, a := range []string{"sh", "echo", "cat", "sleep", "true", "grep", "touch"} {
		require.NoError(d, w.WriteHeader(&tar.Header{Name: "bin/" + a, Linkname: "busybox", Mode: 0o777, Typeflag: tar.TypeSymlink}))
	}
	require.NoError(d, w.Close())
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{"Env": []string{"PATH=/bin"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer.Bytes()))}},
	})
	require.NoError(d, err)
	manifest, err := json.Marshal([]any{map[string]any{"Config": "config.json", "RepoTags": []string{"stock:1"}, "Layers": []string{"layer.tar"}}})
	require.NoError(d, err)
	var archive bytes.Buffer
	w = tar.NewWriter(&archive)
	for name, b := range map[string][]byte{"config.json": config, "layer.tar": layer.Bytes(), "manifest.json": manifest} {
		require.NoError(d, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(b))}))
		_, err = w.Write(b)
		require.NoError(d, err)
	}
	require.NoError(d, w.Close())
	require.NoError(d, os.WriteFile(d.path("image.tar"), archive.Bytes(), 0o600))
	d.ctr("image", "import", d.path("image.tar"))
}
