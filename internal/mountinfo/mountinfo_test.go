package mountinfo

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
)

// recorded gives what another host said.
func recorded(t *testing.T, name string) []byte {
	t.Helper()
	a, err := txtar.ParseFile("testdata/mountinfo.txtar")
	require.NoError(t, err)
	for _, f := range a.Files {
		if f.Name == name {
			return f.Data
		}
	}
	t.Fatalf("no record %q", name)
	return nil
}

func TestCgroups(t *testing.T) {
	for name, want := range map[string][]string{
		"v2":     {"/sys/fs/cgroup"},
		"v1":     {"/sys/fs/cgroup/systemd", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"},
		"hybrid": {"/sys/fs/cgroup/unified", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/memory"},
		"docker": {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/memory"},
		"none":   nil,
		"odd":    {"/mnt/with blank", "/mnt/again"},
		// What another mount is on top of is not where its path leads.
		"covered": {"/sys/fs/cgroup/pids"}, "covered above": nil, "chroot": {"/sys/fs/cgroup/cpu"},
	} {
		require.Equal(t, want, Cgroups(Parse(recorded(t, name))), name)
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		``: ``, `/a`: `/a`, `/a\040b`: `/a b`, `\134\011`: "\\\t", `/a\04`: `/a\04`, `/\999x`: `/\999x`, `\\040`: `\ `,
	} {
		require.Equal(t, want, unescape(in), in)
	}
}
