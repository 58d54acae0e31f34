package shim

import (
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The command is one that works: nothing that was not released is installed by
// its version.
func TestInstall(t *testing.T) {
	const (
		released = "go install -tags seccomp github.com/ctorhq/ctor/cmd/containerd-shim-ctor-v2@"
		made     = "make -C ctor shim && install ctor/bin/containerd-shim-ctor-v2 /usr/local/bin"
		cloned   = "git clone https://github.com/ctorhq/ctor ctor && "
	)
	for v, want := range map[string]string{
		"v1.2.3":                               released + "v1.2.3",
		"v1.2.3-rc.1":                          released + "v1.2.3-rc.1",
		"v0.0.0-20261121141120-ee3cac5aabb0":   cloned + "git -C ctor checkout ee3cac5aabb0 && " + made,
		"v1.2.4-0.20261121141120-ee3cac5aabb0": cloned + "git -C ctor checkout ee3cac5aabb0 && " + made,
		"v1.2.3+dirty":                         cloned + made,
		"(devel)":                              cloned + made,
		"":                                     cloned + made,
	} {
		m := &debug.Module{Path: library, Version: v}
		info := &debug.BuildInfo{Deps: []*debug.Module{{Path: "other", Version: "v9.9.9"}, m}}
		require.Equal(t, v, version(info))
		require.Equal(t, want, install(v, ""))
		m.Replace = &debug.Module{Path: "../ctor"}
		require.Empty(t, version(info))
	}
	require.Equal(t, "make -C /src shim && install /src/bin/containerd-shim-ctor-v2 /usr/local/bin", install("", "/src"))
	require.Empty(t, version(nil))
}

// Here it is the clone that the tests were built from.
func TestInstallHere(t *testing.T) {
	here, err := filepath.Abs("../..")
	require.NoError(t, err)
	require.Equal(t, "make -C "+here+" shim && install "+here+"/bin/containerd-shim-ctor-v2 /usr/local/bin", Install())
	out, err := exec.Command("make", "-n", "-C", here, "shim").Output()
	require.NoError(t, err)
	require.True(t, strings.Contains(string(out), "-o "+here+"/bin/"), "%s", out)
}
