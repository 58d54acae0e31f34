package ctor_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/fixture"
)

// lacks tells whether one of the sentences begins so.
func lacks(i ctor.Info, beginning string) bool {
	return slices.ContainsFunc(i.Lacks, func(s string) bool { return strings.HasPrefix(s, beginning) })
}

func TestInfo(t *testing.T) {
	fixture.NeedsHost(t)
	root := t.TempDir()
	e := fixture.Engine(t, ctor.Config{Root: root, Namespace: "info"})
	i, err := e.Info(t.Context())
	require.NoError(t, err)
	require.Empty(t, fixture.Shims(root), "it starts no shim")

	require.Equal(t, root, i.Root)
	require.Equal(t, "info", i.Namespace)
	require.Equal(t, "overlayfs", i.Snapshotter)
	require.Equal(t, "2.4.2", i.Containerd)
	require.Equal(t, "containerd's default", i.Seccomp)
	require.Regexp(t, `^\d+\.`, i.ExecutorVersion)
	installed, _ := exec.LookPath("containerd-shim-ctor-v2")
	require.Equal(t, installed, i.Shim, "make testshim tests what it says")
	require.True(t, i.Native, "the tests' kernel is new enough")
	if i.Shim == "" {
		require.Contains(t, []string{"runc", "crun"}, i.Executor)
	} else {
		require.Equal(t, "libcontainer", i.Executor)
	}
	require.Contains(t, []string{"v1", "hybrid", "v2"}, i.Cgroup)
	require.Equal(t, cgroup.Parent(root, "info"), i.CgroupParent)
	require.Regexp(t, `^\d+\.\d+`, i.Kernel)
	require.Empty(t, i.Lacks, "the tests run here")
}

// What no caller has asked for is not lacking: here that is CRIU, and a shim.
func TestInfoLacks(t *testing.T) {
	fixture.NeedsHost(t)
	dir := t.TempDir()
	runc, err := exec.LookPath("runc")
	require.NoError(t, err)
	require.NoError(t, os.Symlink(runc, filepath.Join(dir, "runc")))
	t.Setenv("PATH", dir)
	e := fixture.Engine(t, ctor.Config{})
	i, err := e.Info(t.Context())
	require.NoError(t, err)
	require.Empty(t, i.Lacks)
}

// A host without a command to run containers with makes them itself.
func TestInfoWithoutExecutor(t *testing.T) {
	fixture.NeedsHost(t)
	t.Setenv("PATH", t.TempDir())
	e := fixture.Engine(t, ctor.Config{})
	i, err := e.Info(t.Context())
	require.NoError(t, err)
	if i.Shim != "" {
		t.Skip("there is a shim beside the test binary")
	}
	require.Empty(t, i.Executor+i.ExecutorVersion)
	require.True(t, i.Native)
	require.NotEmpty(t, i.Seccomp)
	require.Empty(t, i.Lacks)
}

// What is named as shim need not be one.
func TestInfoOfNoShim(t *testing.T) {
	no := filepath.Join(t.TempDir(), "no-shim")
	require.NoError(t, os.WriteFile(no, []byte("#!/bin/sh\necho what do you want; echo go away >&2; exit 1\n"), 0o755))
	e := fixture.Engine(t, ctor.Config{Shim: no})
	i, err := e.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, no, i.Shim)
	require.Empty(t, i.Executor)
	require.True(t, lacks(i, "shim "+no+" does not tell what it is: exit status 1: go away (unavailable): make -C "), i.Lacks)
}

func TestInfoEnded(t *testing.T) {
	e := fixture.Engine(t, ctor.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := e.Info(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, e.Close())
	_, err = e.Info(t.Context())
	require.ErrorIs(t, err, ctor.ErrClosed)
}
