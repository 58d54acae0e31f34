package link

import (
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
)

func TestLogURI(t *testing.T) {
	for _, path := range []string{"/log", "/a b/c%2Fd?e#f:g&h=i", "/ü\n\x00"} {
		for _, limit := range []int64{-1, 0, 64 << 20} {
			gotPath, gotLimit, err := ParseLogURI(LogURI(path, limit).String())
			require.NoError(t, err, path)
			require.Equal(t, path, gotPath)
			require.Equal(t, limit, gotLimit)
		}
	}
	for _, bad := range []string{
		"", ":", "/log", "file:///log?limit=1", "ctor-log:///log", "ctor-log:///log?limit=", "ctor-log:///log?limit=x",
		"ctor-log://host/log?limit=1", "ctor-log:log?limit=1", "ctor-log:///a/../log?limit=1", "ctor-log:///log/?limit=1",
		"ctor-log:///log?limit=1&limit=2", "ctor-log:///log?limit=1&x=y", "ctor-log:///log?limit=1#f", "ctor-log:///log?limit=01",
		"ctor-log:?limit=1", "ctor-log://user@/log?limit=1",
	} {
		_, _, err := ParseLogURI(bad)
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, bad)
	}
}
