package shim

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRelease(t *testing.T) {
	for version, want := range map[string]string{
		"v1.2.3": "v1.2.3", "v1.2.3-rc.1": "v1.2.3-rc.1",
		"v0.0.0-20261121141120-ee3cac5aabb0": "latest", "v1.2.4-0.20261121141120-ee3cac5aabb0": "latest", "v1.2.3+dirty": "latest",
	} {
		m := &debug.Module{Path: library, Version: version}
		require.Equal(t, want, release(&debug.BuildInfo{Deps: []*debug.Module{{Path: "other", Version: "v9.9.9"}, m}}))
		m.Replace = &debug.Module{Path: "../ctor"}
		require.Equal(t, "latest", release(&debug.BuildInfo{Deps: []*debug.Module{m}}))
	}
	require.Equal(t, "go install -tags seccomp github.com/ctorhq/ctor/cmd/containerd-shim-ctor-v2@latest", Install(), "this is no release")
}
