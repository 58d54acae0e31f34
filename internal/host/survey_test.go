package host

import (
	"io/fs"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
)

// host is one that hack/facts has recorded, as files.
func host(t *testing.T, name string) fstest.MapFS {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata/hosts", name+".txtar"))
	require.NoError(t, err)
	files := fstest.MapFS{}
	for _, f := range a.Files {
		files[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return files
}

func sentences(f Facts) (all []string) {
	for _, l := range f.Lacks {
		all = append(all, l.Sentence)
	}
	return all
}

func TestSurvey(t *testing.T) {
	v2 := []string{"cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"}
	for name, want := range map[string]Facts{
		"bare":    {Cgroup: V2},
		"systemd": {Cgroup: V2, Systemd: true},
		"hybrid":  {Cgroup: Hybrid, Systemd: true},
		"legacy":  {Cgroup: V1, Systemd: true},
	} {
		f := survey(host(t, name), nil)
		require.Equal(t, want.Cgroup, f.Cgroup, name)
		require.Equal(t, want.Systemd, f.Systemd, name)
		require.Equal(t, "6.1.0-50-cloud-amd64", f.Kernel, name)
		require.Subset(t, f.Controllers, []string{"cpu", "memory", "pids"}, name)
		require.Empty(t, f.Lacks, name)
		require.NoError(t, f.Check(), name)
		if want.Cgroup == V2 {
			require.ElementsMatch(t, v2, f.Controllers, name)
		} else {
			require.Subset(t, f.Controllers, []string{"devices", "freezer"}, name)
		}
	}
}

// In a container of a host with version 2, a program's own processes are in
// the way.
func TestSurveyBoxed(t *testing.T) {
	files := host(t, "boxed")
	f := survey(files, nil)
	require.Equal(t, V2, f.Cgroup)
	require.Equal(t, []string{"processes are in /sys/fs/cgroup itself, this container's own cgroup, so that it can't bound any below it: " +
		"mkdir -p /sys/fs/cgroup/init && xargs -rn1 </sys/fs/cgroup/cgroup.procs >/sys/fs/cgroup/init/cgroup.procs"}, sentences(f))
	err := f.Check()
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
	require.ErrorContains(t, err, "any below it (unavailable): mkdir -p /sys/fs/cgroup/init && xargs")

	delete(files, "sys/fs/cgroup/cgroup.procs")
	require.Empty(t, survey(files, nil).Lacks, "they have moved")
	files = host(t, "boxed")
	files["sys/fs/cgroup/cgroup.subtree_control"] = files["sys/fs/cgroup/cgroup.controllers"]
	require.Empty(t, survey(files, nil).Lacks, "somebody else has handed them on")
}

func TestSurveyLacks(t *testing.T) {
	const mountinfo = "proc/thread-self/mountinfo"
	for name, c := range map[string]struct {
		of     string
		change func(fstest.MapFS)
		want   string
		fatal  bool
	}{
		"old kernel": {"bare", func(f fstest.MapFS) { f["proc/sys/kernel/osrelease"].Data = []byte("4.19.0-27-amd64\n") },
			"Linux 4.19.0-27-amd64 can't wait for a process by its descriptor, which 5.4 can: apt-get install linux-image-amd64 and reboot", true},
		"seccomp": {"bare", func(f fstest.MapFS) { delete(f, "proc/sys/kernel/seccomp/actions_avail") },
			"the kernel has no seccomp filters to forbid system calls with: boot one that was built with CONFIG_SECCOMP_FILTER", true},
		"namespace": {"bare", func(f fstest.MapFS) { delete(f, "proc/thread-self/ns/net") },
			"the kernel has no net namespaces: boot one that was built with CONFIG_NAMESPACES and all below it", true},
		"no cgroups": {"bare", func(f fstest.MapFS) { f[mountinfo].Data = recorded(t, "none") },
			"no cgroups are mounted, which bound what containers use: mount -t cgroup2 cgroup2 /sys/fs/cgroup", true},
		"covered": {"bare", func(f fstest.MapFS) { f[mountinfo].Data = recorded(t, "covered above") },
			"no cgroups are mounted, which bound what containers use: mount -t cgroup2 cgroup2 /sys/fs/cgroup", true},
		"elsewhere": {"bare", func(f fstest.MapFS) { f[mountinfo].Data = recorded(t, "odd") },
			"no cgroups are mounted, which bound what containers use: mount -t cgroup2 cgroup2 /sys/fs/cgroup", true},
		"memory": {"bare", func(f fstest.MapFS) { f["sys/fs/cgroup/cgroup.controllers"].Data = []byte("cpu pids\n") },
			"there is no cgroup controller memory, so memory can't be bounded: boot with cgroup_enable=memory", false},
		"memory of a container": {"boxed", func(f fstest.MapFS) {
			f["sys/fs/cgroup/cgroup.controllers"].Data = []byte("cpu pids\n")
			f["sys/fs/cgroup/cgroup.subtree_control"].Data = []byte("cpu pids\n")
		}, "there is no cgroup controller memory, so memory can't be bounded: on the host, in the cgroup above this container's: echo +memory >cgroup.subtree_control", false},
		"devices": {"bare", func(f fstest.MapFS) { f[mountinfo].Data = recorded(t, "without devices") },
			"there is no cgroup controller devices, so devices can't be forbidden: mkdir -p /sys/fs/cgroup/devices && mount -t cgroup -o devices cgroup /sys/fs/cgroup/devices", true},
	} {
		files := host(t, c.of)
		c.change(files)
		f := survey(files, nil)
		require.Equal(t, []Lack{{c.want, c.fatal}}, f.Lacks, name)
		require.Equal(t, c.fatal, f.Check() != nil, name)
	}
}

// In docker run without --privileged, on a host with version 1.
func TestSurveyReadOnly(t *testing.T) {
	files := host(t, "bare")
	files["proc/thread-self/mountinfo"].Data = recorded(t, "docker")
	f := survey(files, nil)
	require.Equal(t, V1, f.Cgroup)
	require.ErrorContains(t, f.Check(), "cgroups can't be made in /sys/fs/cgroup/cpu, which is mounted read-only (unavailable): mount -o remount,rw /sys/fs/cgroup/cpu")
}

// What can't be read must not stop anybody by a guess.
func TestSurveyUnreadable(t *testing.T) {
	f := survey(fstest.MapFS{"proc/sys/kernel/osrelease": {Mode: fs.ModeDir}}, nil)
	require.Equal(t, "unknown", f.Kernel)
	require.False(t, older("unknown", 5, 4))
	require.False(t, older("5.4", 5, 4))
	require.False(t, older("5.10-rc1", 5, 4))
	require.False(t, older("6.1", 5, 4))
	require.True(t, older("5.3.18-24-default", 5, 4))
	require.True(t, older("4.19+", 5, 4))
}

// The tests run here, so nothing can be lacking that they need.
func TestSurveyHere(t *testing.T) {
	f := Survey()
	require.NoError(t, f.Check())
	require.NotEmpty(t, f.Cgroup)
	require.NotEmpty(t, f.Kernel)
	require.NotEmpty(t, f.Controllers)
}
