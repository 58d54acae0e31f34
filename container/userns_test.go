package container_test

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/fixture"
)

// userns maps a container's users to others, as Config.Spec.
func userns(s *specs.Spec) error {
	m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	s.Linux.UIDMappings, s.Linux.GIDMappings = m, m
	return nil
}

// A container's root can be another user: it runs, owns its image's files and
// writes to them, and the engine's root stays closed to all but the program.
func TestUserNamespace(t *testing.T) {
	fixture.NeedsHost(t)
	for name, detach := range map[string]bool{"attached": false, "detached": true} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "root")
			e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
			require.NoError(t, err)
			defer func() { require.NoError(t, e.Close()) }()
			c, err := fixture.Busybox(t, e).Run(t.Context(), container.Config{
				Args: []string{"sleep", "1000"}, Detach: detach, Spec: userns, StopTimeout: -1,
			})
			require.NoError(t, err)
			defer func() { require.NoError(t, c.Close()) }()
			out, err := c.Command(t.Context(), "sh", "-c",
				"cat /proc/self/uid_map && ls -ldn /etc/passwd /home/app && echo new >/etc/group && mkdir /made && id -u && echo again >/dev/stdout").CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Regexp(t, `^\s+0\s+100000\s+65536\n`, string(out))
			require.Regexp(t, `(?s) 0 +0 .*/etc/passwd\n.* 0 +0 .*/home/app\n0\n`, string(out))
			i, err := c.Info(t.Context())
			require.NoError(t, err)
			// The next life has the same users.
			require.NoError(t, c.Stop(t.Context()))
			require.NoError(t, c.Start(t.Context()))
			out, err = c.Command(t.Context(), "sh", "-c", "ls -ldn /etc/passwd /made").CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Regexp(t, `(?s) 0 +0 .*/etc/passwd\n.* 0 +0 .*/made\n`, string(out))
			i, err = c.Info(t.Context())
			require.NoError(t, err)
			st, err := os.Stat(filepath.Join("/proc", strconv.Itoa(i.Pid), "status"))
			require.NoError(t, err)
			require.EqualValues(t, 100000, st.Sys().(*syscall.Stat_t).Uid)
			for _, dir := range []string{root, filepath.Join(root, "state")} {
				st, err := os.Stat(dir)
				require.NoError(t, err)
				require.Zero(t, st.Mode().Perm()&0o077, "%s is open to others", dir)
			}
		})
	}
}
