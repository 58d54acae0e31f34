package bundle

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

func TestAnnotate(t *testing.T) {
	for before, after := range map[string]string{
		`{}`:                                   `{"annotations":{"name":"value"}}`,
		`{"ociVersion":"9.9","new":{"a":[1]}}`: `{"annotations":{"name":"value"},"new":{"a":[1]},"ociVersion":"9.9"}`,
		`{"annotations":{"other":"x"}}`:        `{"annotations":{"name":"value","other":"x"}}`,
		`{"annotations":{"name":"mine"}}`:      `{"annotations":{"name":"mine"}}`,
	} {
		dir := filepath.Join(t.TempDir(), "b")
		require.NoError(t, Create(dir, []byte(before)))
		require.NoError(t, Annotate(dir, "name", "value", "", nil))
		b, err := os.ReadFile(filepath.Join(dir, config))
		require.NoError(t, err)
		require.JSONEq(t, after, string(b))
	}
	dir := filepath.Join(t.TempDir(), "b")
	require.NoError(t, Create(dir, []byte(`{"ociVersion":"1.3.0"}`)))
	require.NoError(t, Annotate(dir, "name", "value", "1.0.2", nil))
	b, err := os.ReadFile(filepath.Join(dir, config))
	require.NoError(t, err)
	require.JSONEq(t, `{"annotations":{"name":"value"},"ociVersion":"1.0.2"}`, string(b))

	dir = filepath.Join(t.TempDir(), "b")
	require.NoError(t, Create(dir, []byte(`{"process":{"args":["x"],"new":1}}`)))
	require.NoError(t, Annotate(dir, "name", "value", "", []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1, Hard: 2}}))
	b, err = os.ReadFile(filepath.Join(dir, config))
	require.NoError(t, err)
	require.JSONEq(t, `{"annotations":{"name":"value"},"process":{"args":["x"],"new":1,"rlimits":[{"type":"RLIMIT_NOFILE","soft":1,"hard":2}]}}`, string(b))

	for _, bad := range []string{"", "[]", `{"annotations":[]}`} {
		dir := filepath.Join(t.TempDir(), "b")
		require.NoError(t, Create(dir, []byte(bad)))
		require.ErrorIs(t, Annotate(dir, "name", "value", "", nil), errdefs.ErrInvalidArgument, bad)
	}
}
