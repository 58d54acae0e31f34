package bundle_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/bundle"
)

func TestCreate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "namespace", "id")
	require.NoError(t, bundle.Create(dir, []byte(`{"hostname":"h"}`)))
	s, err := bundle.Spec(dir)
	require.NoError(t, err)
	require.Equal(t, "h", s.Hostname)
	require.DirExists(t, bundle.Rootfs(dir))
	for _, d := range []string{filepath.Dir(dir), dir} {
		st, err := os.Stat(d)
		require.NoError(t, err)
		require.EqualValues(t, 0o700, st.Mode().Perm(), "specifications hold secrets")
	}
	require.ErrorIs(t, bundle.Create(dir, nil), errdefs.ErrAlreadyExists)
	s, err = bundle.Spec(dir)
	require.NoError(t, err)
	require.Equal(t, "h", s.Hostname, "the first is as it was")
}

func TestSpec(t *testing.T) {
	dir := t.TempDir()
	_, err := bundle.Spec(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte("{"), 0o600))
	_, err = bundle.Spec(dir)
	require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, bundle.Sweep(dir), "it was made no further")
	for path, ok := range map[string]bool{"": true, fmt.Sprintf("/ctor-bundletest-%d", os.Getpid()): true, "/": false, "..": false} {
		j, err := json.Marshal(specs.Spec{Linux: &specs.Linux{CgroupsPath: path}})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), j, 0o600))
		if err := bundle.Sweep(dir); ok {
			require.NoError(t, err, path)
		} else {
			require.Error(t, err, path)
		}
	}
}
