package spec

import (
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/userns"
)

// What a user namespace has not is taken from a configuration there, and nowhere else.
func TestFit(t *testing.T) {
	none := int64(-1)
	plain := func(namespaces ...specs.LinuxNamespace) *specs.Spec {
		return &specs.Spec{
			Mounts: []specs.Mount{
				{Type: "devpts", Destination: "/dev/pts", Options: []string{"newinstance", "gid=5", "mode=0620"}},
				{Type: "sysfs", Destination: "/sys", Options: []string{"ro"}},
			},
			Linux: &specs.Linux{Namespaces: namespaces, Resources: &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &none}}},
		}
	}
	network := specs.LinuxNamespace{Type: specs.NetworkNamespace}
	single := userns.Map{Users: []userns.Range{{Size: 1}}, Groups: []userns.Range{{Size: 1}}}
	mapped := userns.Map{Users: []userns.Range{{Size: 65536}}, Groups: []userns.Range{{Size: 65536}}}

	s := plain()
	fit(s, userns.Everyone)
	require.Equal(t, plain(), s)

	s = plain(network)
	fit(s, mapped)
	require.Equal(t, plain(network).Mounts, s.Mounts)
	require.Nil(t, s.Linux.Resources.Pids)

	s = plain()
	s.Linux.CgroupsPath = "/x"
	fit(s, single)
	require.Equal(t, []string{"newinstance", "mode=0620"}, s.Mounts[0].Options)
	require.Equal(t, "/sys", s.Mounts[1].Source)
	require.Equal(t, "bind", s.Mounts[1].Type)
	require.Nil(t, s.Linux.Resources.Pids)
	s, limit := plain(), int64(7)
	s.Linux.CgroupsPath, s.Linux.Resources.Pids.Limit = "/x", &limit
	fit(s, single)
	require.EqualValues(t, 7, *s.Linux.Resources.Pids.Limit)
}
