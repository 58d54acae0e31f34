package quota_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/quota"
)

// What may write is looked at once a second while it does something, and once a minute
// while it does not.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var (
			spent   atomic.Int64
			unknown atomic.Bool
			over    atomic.Int64
		)
		w := quota.Watch{
			Bytes: 1 << 20, Dirs: []string{dir, filepath.Join(dir, "missing")},
			Spent: func() (time.Duration, error) {
				if unknown.Load() {
					return 0, errors.New("there is no counter")
				}
				return time.Duration(spent.Load()), nil
			},
			Over: func() { over.Add(1) },
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		told := func(after time.Duration) int {
			over.Store(0)
			time.Sleep(after)
			synctest.Wait()
			return int(over.Load())
		}
		full := filepath.Join(dir, "full")
		fill := func() { require.NoError(t, os.WriteFile(full, make([]byte, 4<<20), 0o600)) }

		require.Zero(t, told(time.Second/2))
		fill()
		require.Zero(t, told(50*time.Second), "it is not looked at what does nothing")
		require.Equal(t, 1, told(10*time.Second), "but once a minute")
		require.Equal(t, 3, told(3*time.Second), "what has too much is told of at each look")

		require.NoError(t, os.Remove(full))
		require.Zero(t, told(3*time.Second))
		fill()
		require.Zero(t, told(5*time.Second))
		spent.Add(1)
		require.Equal(t, 2, told(2*time.Second))

		require.NoError(t, os.Remove(full))
		require.Zero(t, told(3*time.Second))
		for i := range quota.Files(w.Bytes) {
			require.NoError(t, os.Symlink("x", filepath.Join(dir, fmt.Sprint(i))))
		}
		spent.Add(1)
		require.Equal(t, 2, told(2*time.Second), "empty files are too many as well")
		require.NoError(t, os.RemoveAll(dir))
		require.NoError(t, os.Mkdir(dir, 0o700))

		spent.Add(1)
		require.Zero(t, told(3*time.Second))
		unknown.Store(true)
		require.Zero(t, told(3*time.Second))
		fill()
		require.Equal(t, 3, told(3*time.Second), "where nothing is known it is looked at each second")
		cancel()
		<-ended
	})
}
