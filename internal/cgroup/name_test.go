package cgroup

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParent(t *testing.T) {
	a := Parent("/var/lib/ctor", "ctor")
	require.Regexp(t, `^/ctor-[0-9a-f]{12}$`, a)
	require.Equal(t, a, Parent("/var/lib/ctor", "ctor"))
	require.NotEqual(t, a, Parent("/var/lib/ctor2", "ctor"))
	require.NotEqual(t, a, Parent("/var/lib/ctor", "ctor2"))
}

func TestParentOf(t *testing.T) {
	parent := Parent("/root", "ns")
	for path, want := range map[string]string{
		parent + "/id": parent, parent[1:] + "/id": parent,
		parent: "", parent + "/id/below": "", "/own/id": "", "/ctor-tasktest-1-2/id": "", "/ctor-/id": "", parent + "00/id": "", "": "", "/": "",
		"system.slice:ctor:id": "",
	} {
		require.Equal(t, want, ParentOf(path), path)
	}
}
