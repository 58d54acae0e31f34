package spec_test

import (
	"encoding/json"
	"testing"

	_ "github.com/containerd/containerd/v2/client" // gives configurations their name
	"github.com/containerd/containerd/v2/pkg/namespaces"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/spec"
)

// A configuration with the shared profile is written as package json would.
func TestEncodeShared(t *testing.T) {
	made := func(add ...string) *specs.Spec {
		s, err := spec.New(namespaces.WithNamespace(t.Context(), "test"), ocispec.ImageConfig{Cmd: []string{`"seccomp":{"defaultAction":""}`}},
			spec.Options{ID: "x", Cgroup: "/x", Security: spec.Security{CapAdd: add}})
		require.NoError(t, err)
		return s
	}
	one, other, more := made(), made(), made("SYS_ADMIN")
	require.Same(t, one.Linux.Seccomp, other.Linux.Seccomp)
	require.NotSame(t, one.Linux.Seccomp, more.Linux.Seccomp)
	for _, s := range []*specs.Spec{one, more} {
		want, err := json.Marshal(s)
		require.NoError(t, err)
		got, err := spec.Encode(s)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got.Value))
	}

	spec.Unshare(one)
	require.Equal(t, other.Linux.Seccomp, one.Linux.Seccomp)
	one.Linux.Seccomp.Syscalls[0].Names[0] = "changed"
	require.NotEqual(t, other.Linux.Seccomp, one.Linux.Seccomp)
	require.NotEqual(t, made().Linux.Seccomp, one.Linux.Seccomp)
	got, err := spec.Encode(one)
	require.NoError(t, err)
	require.Contains(t, string(got.Value), `"changed"`)
}
