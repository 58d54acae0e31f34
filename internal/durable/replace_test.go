package durable

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Readers never find half a content, nor what a kill has left of a longer one.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	contents := []string{strings.Repeat("a", 10_000), "b", strings.Repeat("c", 5_000)}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file.new"), make([]byte, 100_000), 0o600))
	require.NoError(t, Replace(dir, "file", []byte(contents[0])))
	written := make(chan error)
	go func() {
		for i := range 60 {
			if err := Replace(dir, "file", []byte(contents[i%3])); err != nil {
				written <- err
				return
			}
		}
		close(written)
	}()
	for {
		select {
		case err := <-written:
			require.NoError(t, err)
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Len(t, entries, 1)
			return
		default:
			b, err := os.ReadFile(filepath.Join(dir, "file"))
			require.NoError(t, err)
			require.Contains(t, contents, string(b))
		}
	}
}

func TestReplaceNowhere(t *testing.T) {
	require.ErrorIs(t, Replace(filepath.Join(t.TempDir(), "gone"), "file", nil), os.ErrNotExist)
}
