package container_test

import (
	"github.com/ctorhq/ctor/internal/fixture"
	"io"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
)

// A command has the walls of the container's first process.
func TestCmdWalls(t *testing.T) {
	fixture.NeedsUsers(t)
	t.Parallel()
	const walls = `grep -E '^(Cap...|NoNewPrivs|Seccomp|Seccomp_filters|Uid|Gid|Groups):' /proc/self/status; cat /proc/self/cgroup; ulimit -c; for n in cgroup ipc mnt net pid uts; do ls -l /proc/self/ns/$n; done | grep -o '[a-z]*:\[[0-9]*'; mount -t nosuch x /mnt 2>&1`
	img := busybox(t)
	for name, cfg := range map[string]container.Config{
		"defaults": {},
		"user":     {User: "app"},
		"limits": {Spec: func(s *specs.Spec) error {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 512, Hard: 1024}}
			s.Process.Capabilities.Bounding = []string{"CAP_CHOWN"}
			s.Process.Capabilities.Permitted = []string{"CAP_CHOWN"}
			s.Process.Capabilities.Effective = []string{"CAP_CHOWN"}
			return nil
		}},
		"no walls": {Spec: func(s *specs.Spec) error {
			s.Process.NoNewPrivileges = false
			s.Linux.Seccomp = nil
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var first safe
			cfg.Args, cfg.Stdout = []string{"sh", "-c", walls + "; echo end; exec sleep 1000"}, &first
			c := containertest.Run(t, img, cfg)
			says(t, c, "end")
			out, err := c.Command(t.Context(), "sh", "-c", walls+"; echo end").Output()
			require.NoError(t, err)
			require.Equal(t, logs(t, c), string(out))
		})
	}
}

// Users are those of the container as it is now, and nothing in it leads out.
func TestCmdUser(t *testing.T) {
	fixture.NeedsUsers(t)
	t.Parallel()
	shell, in := io.Pipe()
	said, out := io.Pipe()
	c := containertest.Run(t, busybox(t), container.Config{Stdin: shell, Stdout: out})
	run := func(user string) (string, error) {
		cmd := c.Command(t.Context(), "sh", "-c", "echo $(id -u):$(id -g):$(id -G) $HOME")
		cmd.User = user
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	for user, want := range map[string]string{
		"": "0:0:0 /root", "root": "0:0:0 /root", "app": "1000:1000:1000 1001 /home/app",
		"1000": "1000:1000:1000 1001 /home/app", "app:extra": "1000:1001:1001 /home/app", "4321": "4321:0:0 /", "7:8": "7:8:8 /",
	} {
		got, err := run(user)
		require.NoError(t, err, user)
		require.Equal(t, want, got, user)
	}
	mine := c.Command(t.Context(), "sh", "-c", "echo $HOME")
	mine.User, mine.Env = "app", []string{"HOME=/mine"}
	home, err := mine.Output()
	require.NoError(t, err)
	require.Equal(t, "/mine\n", string(home))
	mine = c.Command(t.Context(), "sh", "-c", "echo $HOME")
	mine.User, mine.Env = "app", []string{}
	home, err = mine.Output()
	require.NoError(t, err)
	require.Equal(t, "/home/app\n", string(home))

	edit := func(script string) {
		t.Helper()
		_, err := io.WriteString(in, "rm -rf /etc/passwd; "+script+"; echo done\n")
		require.NoError(t, err)
		awaitLine(t, said, "done")
	}
	edit("echo root:x:0:0:root:/root:/bin/sh > /etc/passwd; echo new:x:77:78::/new:/bin/sh >> /etc/passwd")
	got, err := run("new")
	require.NoError(t, err)
	require.Equal(t, "77:78:78 /new", got)
	edit("ln -s /nope/../../../../../../proc/1/root/etc/passwd /etc/passwd")
	_, err = run("app")
	require.Error(t, err)
	for _, script := range []string{
		"mkdir /etc/passwd",
		"/bin/busybox mkfifo /etc/passwd",
		"ln -s passwd /etc/passwd",
		"ln -s /dev/zero /etc/passwd",
		"head -c 5000000 /dev/zero > /etc/passwd",
		"ln -s /proc/1/exe /etc/passwd",
		"ln -s /proc/kmsg /etc/passwd",
	} {
		edit(script)
		for _, user := range []string{"app", ""} {
			if _, err = run(user); user != "" || !strings.Contains(script, "head") {
				require.ErrorContains(t, err, "/etc/passwd", script)
			}
		}
	}
	edit("true")
	_, err = run("app")
	require.ErrorIs(t, err, ctor.ErrNotFound)
	got, err = run("1000:1000")
	require.NoError(t, err)
	require.Equal(t, "1000:1000:1000 /root", got, "nobody knows whose home it is")
}

// A command is looked up in the container as it is now.
func TestCmdLookup(t *testing.T) {
	t.Parallel()
	c := containertest.Run(t, busybox(t), container.Config{
		Args: []string{"sleep", "1000"}, Env: []string{"PATH=/bin:/late:relative"}, Dir: "/tmp",
		Mounts: []container.Mount{{Type: container.Tmpfs, Target: "/late"}},
	})
	put := c.Command(t.Context(), "sh", "-c", `cat > /tmp/tool; chmod +x /tmp/tool; ln -s ../../../../../tmp/tool /bin/tool`)
	put.Stdin = strings.NewReader("#!/bin/sh\necho \"$0 in $PWD\"\n")
	require.NoError(t, put.Run())
	dir := ""
	if i, err := containertest.Engine(t).Info(t.Context()); err == nil && i.Executor == "crun" {
		dir = "/tmp/" // it executes relative names by their whole path
	}
	for name, want := range map[string]string{
		"tool": "/bin/tool in /tmp\n", "./tool": dir + "./tool in /tmp\n", "/tmp/tool": "/tmp/tool in /tmp\n", "../bin/tool": dir + "../bin/tool in /tmp\n",
	} {
		out, err := c.Command(t.Context(), name).Output()
		require.NoError(t, err, name)
		require.Equal(t, want, string(out))
	}
	// The name that it goes by is Args[0], if that means Path.
	cmd := c.Command(t.Context(), "echo", "hello")
	cmd.Args[0] = "cat"
	out, err := cmd.Output()
	require.NoError(t, err)
	require.Equal(t, "hello\n", string(out))
	// Where PATH of the command would find another, it still gets the right one.
	cmd = c.Command(t.Context(), "sh", "-c", "echo $0")
	cmd.Env = []string{"PATH=/nope"}
	out, err = cmd.Output()
	require.NoError(t, err)
	require.Equal(t, "/bin/sh\n", string(out))
}
