package tasks

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/bundle"
)

// Where it can't be told whether a detached shim lives, the service is not
// made, so that nobody sweeps its container. One where nobody listens is dead.
func TestUnknownShim(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	dir := filepath.Join(cfg.Dir, "bundle", "ns", "id")
	require.NoError(t, bundle.Create(dir, []byte("{}")))
	path := filepath.Join(dir, "task-1.sock")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	_, err = New(cfg)
	require.ErrorIs(t, err, unix.EPROTOTYPE)
	require.NoError(t, l.Close())
	require.NoError(t, os.Remove(path))

	stream, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	stream.SetUnlinkOnClose(false)
	require.NoError(t, stream.Close())
	s, err := New(cfg)
	require.NoError(t, err)
	require.NoError(t, s.Sweep(t.Context()))
	require.NoDirExists(t, dir)
	require.NoError(t, s.Close())
}
