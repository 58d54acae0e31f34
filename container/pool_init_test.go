package container_test

import (
	"bytes"
	"github.com/ctorhq/ctor/internal/fixture"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
)

// The commands of a pool's claims have the init that its configuration asks for.
func TestClaimWithInit(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*specs.Spec) error{
		"plain":  nil,
		"edited": func(s *specs.Spec) error { s.Process.Env = append(s.Process.Env, "EDITED=yes"); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			pool, err := busybox(t).Warm(t.Context(), 1, container.Config{Init: true, AutoRemove: true, Spec: edit})
			require.NoError(t, err)
			defer func() { require.NoError(t, pool.Close()) }()
			for range 2 {
				var out bytes.Buffer
				c, err := pool.Claim(t.Context(), container.Claim{
					Args: []string{"sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline | cut -c1-12; echo $$ $EDITED"}, Stdout: &out,
				})
				require.NoError(t, err)
				require.NoError(t, c.Start(t.Context()))
				require.NoError(t, c.Wait(t.Context()))
				require.NoError(t, c.Close())
				require.Regexp(t, `^/dev/init sh\n[2-9] ?(yes)?\n$`, out.String())
			}
		})
	}
}

// Instances in user namespaces of their own don't wait: a claim makes them.
func TestClaimHardened(t *testing.T) {
	fixture.NeedsHost(t)
	t.Parallel()
	pool, err := busybox(t).Warm(t.Context(), 2, container.Config{Security: container.Hardened()})
	require.NoError(t, err)
	defer func() { require.NoError(t, pool.Close()) }()
	var out bytes.Buffer
	c, err := pool.Claim(t.Context(), container.Claim{Args: []string{"sh", "-c", "cut -c1-11 < /proc/self/uid_map"}, Stdout: &out})
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
	require.NoError(t, c.Close())
	require.Equal(t, "         0 \n", out.String())
}
