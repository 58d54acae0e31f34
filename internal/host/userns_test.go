package host

import (
	"errors"
	"os/exec"
	"testing"
	"testing/fstest"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/userns"
)

func text(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }

// What keeps a user from having a user namespace is told with the command that mends it.
func TestExplainUserNS(t *testing.T) {
	for name, c := range map[string]struct {
		file, value string
		err         error
		says        string
	}{
		"no namespaces": {"", "", unix.EINVAL, "user namespace: invalid argument: the kernel has none (unavailable): boot one that was built with CONFIG_USER_NS"},
		"none to give": {"proc/sys/user/max_user_namespaces", "0\n", unix.ENOSPC,
			"user namespace: no space left on device: the host has none to give (unavailable): sysctl -w user.max_user_namespaces=15000"},
		"root's alone": {"proc/sys/kernel/unprivileged_userns_clone", "0\n", unix.EPERM,
			"user namespace: operation not permitted: the host gives them to root alone (unavailable): sysctl -w kernel.unprivileged_userns_clone=1"},
		"AppArmor": {"proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", unix.EPERM,
			"user namespace: operation not permitted: AppArmor lets no user be root in them (unavailable): sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
		"too many": {"proc/sys/user/max_user_namespaces", "10\n", unix.ENOSPC,
			"user namespace: no space left on device: there are as many as there may be (unavailable): sysctl -w user.max_user_namespaces=15000"},
		"a container": {"proc/sys/user/max_user_namespaces", "10\n", unix.EPERM,
			"user namespace: operation not permitted: what forbids it may be the seccomp profile of a container (unavailable): start that with --security-opt seccomp=unconfined"},
	} {
		files := fstest.MapFS{}
		if c.file != "" {
			files["proc/thread-self/ns/user"], files[c.file] = text(""), text(c.value)
		}
		err := explainUserNS(files, 1000, c.err)
		require.EqualError(t, err, c.says, name)
		require.ErrorIs(t, err, errdefs.ErrUnavailable, name)
		require.ErrorIs(t, err, c.err, name)
	}
	files := fstest.MapFS{"proc/thread-self/ns/user": text(""), "proc/sys/kernel/unprivileged_userns_clone": text("0\n")}
	require.Empty(t, forbidsUserNS(files, 0), "root has them")
	require.NotErrorIs(t, explainUserNS(files, 0, unix.ENOMEM), errdefs.ErrUnavailable)

	require.EqualError(t, needsRoot(files, 1000), "an engine in this process needs root, and this is user 1000, who could be root in a user namespace, "+
		"but the host gives them to root alone (unavailable): run the program with sudo, or sysctl -w kernel.unprivileged_userns_clone=1, and run it with ctor-userns")
	delete(files, "proc/sys/kernel/unprivileged_userns_clone")
	require.EqualError(t, needsRoot(files, 1000), "an engine in this process needs root, and this is user 1000 (unavailable): run the program with sudo, "+
		"or as root of a user namespace: go install github.com/ctorhq/ctor/cmd/ctor-userns@latest && ctor-userns PROGRAM")
}

// Where nothing is set aside for a user, or nothing maps it, the user is alone.
func TestMapping(t *testing.T) {
	look := func(missing string) func(string) (string, error) {
		return func(program string) (string, error) {
			if program == missing {
				return "", exec.ErrNotFound
			}
			return "/usr/bin/" + program, nil
		}
	}
	files := fstest.MapFS{
		"etc/subuid": text("other:100000:65536\nci:165536:65536\n1001:300000:10\nci:bad\nci:1:0\n"),
		"etc/subgid": text("ci:165536:65536\n"),
	}
	ci := subject{name: "ci", uid: 1001, gid: 100, look: look("")}
	m, err := ci.mapping(files)
	require.NoError(t, err)
	require.Equal(t, []userns.Range{{Inside: 0, Outside: 1001, Size: 1}, {Inside: 1, Outside: 165536, Size: 65536}, {Inside: 65537, Outside: 300000, Size: 10}}, m.Users)
	require.Equal(t, []userns.Range{{Inside: 0, Outside: 100, Size: 1}, {Inside: 1, Outside: 165536, Size: 65536}}, m.Groups)
	require.True(t, m.Setgroups)

	ci.look = look("newgidmap")
	m, err = ci.mapping(files)
	require.True(t, m.Single())
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
	require.ErrorContains(t, err, "there is no newgidmap to map other users with (unavailable): ")

	nobody := subject{uid: 7, gid: 7, look: look("")}
	m, err = nobody.mapping(files)
	require.Equal(t, nobody.alone(), m)
	require.EqualError(t, err, "no users or groups are set aside for user 7, in /etc/subuid and /etc/subgid (unavailable): "+
		"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 7")
	delete(files, "etc/subgid")
	ci.look = look("")
	m, err = ci.mapping(files)
	require.True(t, m.Single())
	require.ErrorContains(t, err, "--add-subgids 100000-165535 ci")
}

// What a user namespace does without is told, and keeps no container from running.
func TestSurveyUserNamespace(t *testing.T) {
	files := host(t, "legacy")
	files["proc/thread-self/uid_map"], files["proc/thread-self/gid_map"] = text("0 1001 1\n"), text("0 1001 1\n")
	f := survey(files, errors.New("why (unavailable): mend it"))
	require.NoError(t, f.Check())
	require.Equal(t, V1, f.Cgroup)
	require.Empty(t, f.Controllers)
	require.Len(t, f.Lacks, 3)
	require.Equal(t, "why, so containers have no limits, not even of processes, no Stats, no Pause, and nothing is known of kills for want of memory: mend it", f.Lacks[0].Sentence)
	require.Contains(t, f.Lacks[1].Sentence, "root is the only user of this user namespace")
	require.Contains(t, f.Lacks[2].Sentence, "has no device nodes of its own")

	files["proc/thread-self/uid_map"], files["proc/thread-self/gid_map"] = text("0 1001 1\n1 100000 65536\n"), text("0 1001 1\n1 100000 65536\n")
	require.Len(t, survey(files, errors.New("why: mend it")).Lacks, 2)

	files["proc/thread-self/uid_map"] = text("0 0 4294967295\n")
	require.Empty(t, survey(files, nil).Lacks)
}

// A cgroup that was delegated need not have all controllers.
func TestSurveyDelegated(t *testing.T) {
	files := host(t, "boxed")
	delete(files, "sys/fs/cgroup/cgroup.procs")
	files["sys/fs/cgroup/cgroup.controllers"] = text("memory\n")
	files["sys/fs/cgroup/cgroup.subtree_control"] = text("memory\n")
	require.Error(t, survey(files, nil).Check())
	files["proc/thread-self/uid_map"], files["proc/thread-self/gid_map"] = text("0 1001 1\n1 100000 65536\n"), text("0 1001 1\n1 100000 65536\n")
	f := survey(files, nil)
	require.NoError(t, f.Check())
	require.Contains(t, f.Lacks[0].Sentence, "there is no cgroup controller pids, so the number of processes can't be bounded")
}

func TestCheckUser(t *testing.T) {
	single := userns.Map{Users: []userns.Range{{Size: 1}}, Groups: []userns.Range{{Size: 1}}}
	require.NoError(t, checkUser(single, specs.User{}))
	err := checkUser(single, specs.User{UID: 1000})
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
	require.EqualError(t, err, "user 1000 is none of this user namespace (unavailable): apt-get install uidmap, and ctor-userns PROGRAM")
	require.ErrorIs(t, checkUser(single, specs.User{GID: 5}), errdefs.ErrUnavailable)
	require.NoError(t, checkUser(userns.Everyone, specs.User{UID: 1 << 31, GID: 5}))

	own := &specs.Linux{UIDMappings: []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}}
	require.NoError(t, checkMapped(userns.Everyone, own))
	require.ErrorIs(t, checkMapped(single, own), errdefs.ErrUnavailable)
}
