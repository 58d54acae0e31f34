package tasktest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/bundle"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// patience is how long a test waits for what should come at once.
const patience = 60 * time.Second

// bed is what a test works on: a service, and what it has told.
type bed struct {
	*testing.T
	svc    *task.Service
	told   *recorder
	ctx    context.Context // with a containerd namespace
	dir    string          // of bundles and fifos
	cgroup string          // of all containers
	count  atomic.Int64
	done   bool // Undo was called
}

var beds atomic.Int64

func newBed(t *testing.T, e task.Executor) *bed {
	ctx, cancel := context.WithTimeout(namespaces.WithNamespace(t.Context(), "tasktest"), 5*patience)
	b := &bed{
		T: t, told: newRecorder(), ctx: ctx, dir: tempDir(t),
		cgroup: fmt.Sprintf("/ctor-tasktest-%d-%d", os.Getpid(), beds.Add(1)),
	}
	b.svc = task.New(e, b.told, nil)
	t.Cleanup(func() {
		defer cancel()
		b.undo()
		b.removeCgroup()
	})
	return b
}

// tempDir is t.TempDir without the test's name, which has commas: they separate
// an overlay's options.
func tempDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "tasktest-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// undo ends the service: nothing may be left.
func (b *bed) undo() {
	b.Helper()
	if b.done {
		return
	}
	b.done = true
	require.NoError(b, b.svc.Undo(context.Background()))
	require.Empty(b, b.left())
}

// left is what there is of the bed's containers on the host.
func (b *bed) left() []string {
	b.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(b, err)
	var left []string
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); strings.HasPrefix(f[4], b.dir+"/") {
			left = append(left, "mount "+f[4])
		}
	}
	for _, pattern := range []string{"/sys/fs/cgroup/*" + b.cgroup + "/*/cgroup.procs", "/sys/fs/cgroup" + b.cgroup + "/*/cgroup.procs"} {
		found, err := filepath.Glob(pattern)
		require.NoError(b, err)
		left = append(left, found...)
	}
	return left
}

func (b *bed) removeCgroup() {
	for _, pattern := range []string{"/sys/fs/cgroup/*" + b.cgroup, "/sys/fs/cgroup" + b.cgroup} {
		found, _ := filepath.Glob(pattern)
		for _, dir := range found {
			if err := os.Remove(dir); err != nil && !os.IsNotExist(err) {
				b.Error(err)
			}
		}
	}
}

// soon waits for what is under way.
func (b *bed) soon(what string, ok func() bool) {
	b.Helper()
	require.Eventually(b, ok, patience, time.Millisecond, what)
}

// spec is a container's, with the shared root file system.
func (b *bed) spec(id string, args ...string) *specs.Spec {
	b.Helper()
	s, err := oci.GenerateSpec(b.ctx, nil, &containers.Container{ID: id},
		oci.WithRootFSPath(rootfs), oci.WithRootFSReadonly(), oci.WithProcessArgs(args...), oci.WithEnv([]string{"PATH=/bin"}))
	require.NoError(b, err)
	s.Linux.CgroupsPath = b.cgroup + "/" + id
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	s.Linux.Seccomp = seccomp.DefaultProfile(s)
	limit := int64(512)
	if s.Linux.Resources == nil {
		s.Linux.Resources = &specs.LinuxResources{}
	}
	s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &limit}
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"mode=1777"}})
	return s
}

// bundle makes the directory of a container.
func (b *bed) bundle(id string, s *specs.Spec) string {
	b.Helper()
	dir := filepath.Join(b.dir, id)
	j, err := json.Marshal(s)
	require.NoError(b, err)
	require.NoError(b, bundle.Create(dir, j))
	return dir
}

// id makes a new one.
func (b *bed) id() string { return fmt.Sprintf("c%d", b.count.Add(1)) }

// hostPids takes the pid namespace out of a specification.
func hostPids(s *specs.Spec) {
	var kept []specs.LinuxNamespace
	for _, ns := range s.Linux.Namespaces {
		if ns.Type != specs.PIDNamespace {
			kept = append(kept, ns)
		}
	}
	s.Linux.Namespaces = kept
}
