package stock_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go/features"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/shim/link"
	"github.com/ctorhq/ctor/internal/shim/stock"
	"github.com/ctorhq/ctor/internal/shim/task"
)

func TestInfo(t *testing.T) {
	about := task.About{Name: "runc", Version: "1.2.3", Seccomp: true, Features: &features.Features{OCIVersionMin: "1.0.0"}}
	var out bytes.Buffer
	handled, err := stock.Run([]string{"-info"}, &out, func() (task.About, error) { return about, nil })
	require.True(t, handled)
	require.NoError(t, err)
	got, protocol, err := stock.ParseInfo(out.Bytes())
	require.NoError(t, err)
	require.Equal(t, link.Protocol, protocol)
	require.Equal(t, about, got)

	for _, bad := range []string{"", "no message", "\x0a\x15io.containerd.runc.v2x"} {
		_, _, err = stock.ParseInfo([]byte(bad))
		require.Error(t, err, "%q", bad)
	}
	failed := errors.New("no runc")
	_, err = stock.Run([]string{"-info"}, &out, func() (task.About, error) { return task.About{}, failed })
	require.ErrorIs(t, err, failed)
}
