package spec_test

import (
	"testing"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/spec"
)

// A path of Mask and Unmask does what it says, or is refused.
func TestMaskAndUnmask(t *testing.T) {
	for _, wrong := range []spec.Security{
		{Mask: []string{"ALL"}}, {Mask: []string{"etc/passwd"}}, {Mask: []string{"/etc//passwd"}}, {Mask: []string{""}}, {Mask: []string{"/a\x00"}},
		{Unmask: []string{"all"}}, {Unmask: []string{"/proc/kcore/"}}, {Unmask: []string{"/proc/./kcore"}}, {Unmask: []string{"proc/kcore"}},
		{Unmask: []string{"/proc/sys/net"}}, {Unmask: []string{"/proc"}}, {Unmask: []string{"/"}},
	} {
		_, err := write(t, ocispec.ImageConfig{}, spec.Options{Args: []string{"x"}, Security: wrong})
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, "%+v", wrong)
	}
	for _, right := range []spec.Security{
		{Mask: []string{"/etc/passwd"}}, {Unmask: []string{"ALL"}}, {Unmask: []string{"ALL", "/proc/sys/net"}},
		{Unmask: []string{"/proc/sys", "/proc/sys/net"}}, {Unmask: []string{"/proc/uptime"}}, {Unmask: []string{"/proc/sysrq-trigger"}},
		{Privileged: true, Unmask: []string{"/proc/sys/net"}},
	} {
		s, err := write(t, ocispec.ImageConfig{}, spec.Options{Args: []string{"x"}, Security: right})
		require.NoError(t, err, "%+v", right)
		for _, p := range right.Unmask {
			require.NotContains(t, s.Linux.MaskedPaths, p)
			require.NotContains(t, s.Linux.ReadonlyPaths, p)
		}
		require.Subset(t, s.Linux.MaskedPaths, right.Mask)
	}
}
