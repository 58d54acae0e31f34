package native_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// driver does what the shim's service does with an executor, for containers whose
// root file system the test has made.
type driver struct {
	*testing.T
	exec   task.Executor
	dir    string
	rootfs string
	cgroup string
}

var serial atomic.Int64

func newDriver(t *testing.T) *driver {
	dir, err := os.MkdirTemp("", "native-")
	require.NoError(t, err)
	d := &driver{T: t, exec: own(t), dir: dir, rootfs: filepath.Join(dir, "rootfs"), cgroup: fmt.Sprintf("/ctor-native-test-%d-%d", os.Getpid(), serial.Add(1))}
	for _, name := range []string{"bin", "tmp", "etc"} {
		require.NoError(t, os.MkdirAll(filepath.Join(d.rootfs, name), 0o755))
	}
	busybox, err := os.ReadFile("/bin/busybox")
	require.NoError(t, err, "apt-get install busybox-static")
	require.NoError(t, os.WriteFile(d.rootfs+"/bin/busybox", busybox, 0o755))
	for _, name := range []string{"cat", "chmod", "echo", "ln", "ls", "mkdir", "mount", "mv", "rm", "sh", "sleep", "stat", "true", "umount"} {
		require.NoError(t, os.Symlink("busybox", d.rootfs+"/bin/"+name))
	}
	t.Cleanup(func() {
		require.NoError(t, cgroup.Remove(d.cgroup))
		require.NoError(t, os.RemoveAll(dir))
	})
	return d
}

// spec is containerd's default, with its filter.
func (d *driver) spec(args ...string) *specs.Spec {
	d.Helper()
	id := fmt.Sprint("n", serial.Add(1))
	s, err := oci.GenerateSpec(namespaces.WithNamespace(d.Context(), "test"), nil, &containers.Container{ID: id},
		seccomp.WithDefaultProfile(), oci.WithProcessArgs(args...), oci.WithEnv([]string{"PATH=/bin"}))
	require.NoError(d, err)
	s.Linux.CgroupsPath = d.cgroup + "/" + id
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	return s
}

func (d *driver) create(s *specs.Spec, stdio task.Stdio) (task.Container, task.Process, error) {
	return d.exec.Create(d.Context(), task.Bundle{
		ID: filepath.Base(s.Linux.CgroupsPath), Namespace: "test", Dir: d.dir, Rootfs: d.rootfs, Spec: s,
	}, stdio)
}

// run runs a container to its end, and gives its output.
func (d *driver) run(s *specs.Spec) (string, error) {
	d.Helper()
	r, w, err := os.Pipe()
	require.NoError(d, err)
	defer r.Close()
	c, p, err := d.create(s, task.Stdio{Out: w, Err: w})
	w.Close()
	if err != nil {
		return "", err
	}
	err = c.Start(d.Context())
	if err != nil {
		_ = unix.Kill(p.Pid, unix.SIGKILL)
	}
	out, rerr := io.ReadAll(r)
	require.NoError(d, rerr)
	reap(d, p.Pid)
	require.NoError(d, c.Delete(context.Background()))
	return string(out), err
}

// running gives a container that runs until the test ends.
func (d *driver) running(s *specs.Spec) (task.Container, task.Process) {
	d.Helper()
	c, p, err := d.create(s, task.Stdio{})
	require.NoError(d, err)
	d.Cleanup(func() {
		_ = unix.Kill(p.Pid, unix.SIGKILL)
		reap(d, p.Pid)
		require.NoError(d, c.Delete(context.Background()))
	})
	require.NoError(d, c.Start(d.Context()))
	return c, p
}

// command runs one in a container.
func (d *driver) command(c task.Container, p *specs.Process) (string, error) {
	d.Helper()
	r, w, err := os.Pipe()
	require.NoError(d, err)
	defer r.Close()
	started, err := c.Exec(d.Context(), "e", p, task.Stdio{Out: w, Err: w})
	w.Close()
	if err != nil {
		return "", err
	}
	out, err := io.ReadAll(r)
	require.NoError(d, err)
	reap(d, started.Pid)
	return string(out), nil
}

func reap(t testing.TB, pid int) {
	t.Helper()
	for {
		_, err := unix.Wait4(pid, nil, 0, nil)
		if err != unix.EINTR {
			require.NoError(t, err)
			return
		}
	}
}

// without takes a mount out of a configuration.
func without(s *specs.Spec, below string) {
	var kept []specs.Mount
	for _, m := range s.Mounts {
		if m.Destination != below && !strings.HasPrefix(m.Destination, below+"/") {
			kept = append(kept, m)
		}
	}
	s.Mounts = kept
}
