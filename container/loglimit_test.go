package container_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
)

// logFiles gives what the log of a container has on disk.
func logFiles(t *testing.T, c *container.Container) (size int64, names []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(c.Engine().Root(), "containers", "*", c.ID(), "log.*"))
	require.NoError(t, err)
	for _, name := range names {
		if st, err := os.Stat(name); err == nil {
			size += st.Size()
		}
	}
	return size, names
}

// A container writes as fast as it can. Its log keeps to the limit; a follower
// that does not read learns that it has missed something, and goes on; nobody
// else is hurt by it.
func TestLogLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("takes all processors for seconds")
	}
	t.Parallel()
	const limit = 1 << 20
	for _, detach := range []bool{false, true} {
		c := containertest.Run(t, busybox(t), container.Config{Args: []string{"yes"}, LogLimit: limit, Detach: detach})
		late := follow(t, c)
		_, err := io.ReadFull(late, make([]byte, 2))
		require.NoError(t, err)
		for turns := 0; turns < 50; {
			size, names := logFiles(t, c)
			require.LessOrEqual(t, size, int64(limit))
			require.NotEmpty(t, names)
			if _, err := os.Stat(filepath.Join(filepath.Dir(names[0]), "log.1")); err == nil {
				continue // it has not begun to drop anything
			}
			turns++
		}
		require.NoError(t, c.Stop(t.Context()))
		var exit *container.ExitError
		require.ErrorAs(t, c.Wait(t.Context()), &exit)

		before, err := io.ReadAll(late)
		require.ErrorIs(t, err, container.ErrLogGap)
		require.ErrorIs(t, err, ctor.ErrUnavailable)
		after, err := io.ReadAll(late)
		for errors.Is(err, container.ErrLogGap) { // it has fallen behind once more
			after, err = io.ReadAll(late)
		}
		require.NoError(t, err)
		require.NotEmpty(t, before)
		require.Equal(t, logs(t, c), string(after), "it goes on where the log begins now")
		require.Empty(t, bytes.ReplaceAll(after, []byte("y\n"), nil))
		size, _ := logFiles(t, c)
		require.LessOrEqual(t, size, int64(limit))
		require.Greater(t, size, int64(limit/2))
	}
}

// A bufio.Scanner reads on over a gap, which is a line for it, if that is asked
// for; otherwise it ends there, with the error that says so.
func TestLogGap(t *testing.T) {
	t.Parallel()
	const line, gap = "0123456789abcde", "-- missing --"
	for _, detach := range []bool{false, true} {
		cfg := sh("yes " + line + " | head -c 4194304; echo end")
		cfg.LogLimit, cfg.Detach = 1<<20, detach
		c, err := busybox(t).New(t.Context(), cfg)
		require.NoError(t, err)
		defer c.Close()
		strict := bufio.NewScanner(follow(t, c))
		r, err := c.Logs(t.Context(), &container.LogOptions{Follow: true, Gap: gap})
		require.NoError(t, err)
		defer r.Close()
		require.NoError(t, c.Start(t.Context()))
		require.NoError(t, c.Wait(t.Context()))

		last, lines := "", map[string]int{}
		for s := bufio.NewScanner(iotest.OneByteReader(r)); s.Scan(); lines[last]++ {
			last = s.Text()
			require.NoError(t, s.Err())
		}
		require.Equal(t, "end", last)
		require.Equal(t, 1, lines[gap])
		require.Greater(t, lines[line], 1<<15)
		for strict.Scan() {
			last = strict.Text()
		}
		require.ErrorIs(t, strict.Err(), container.ErrLogGap)
		require.NotEqual(t, "end", last)
	}
}

// The last byte is there when Wait returns, though the first are not any more.
func TestLogLimitEnd(t *testing.T) {
	t.Parallel()
	for _, detach := range []bool{false, true} {
		cfg := sh("yes 0123456789abcde | head -c 16777216; echo end")
		cfg.LogLimit, cfg.Detach = 1<<20, detach
		c := containertest.Run(t, busybox(t), cfg)
		require.NoError(t, c.Wait(t.Context()))
		text := logs(t, c)
		require.Greater(t, len(text), 1<<19)
		require.Less(t, len(text), 1<<20)
		require.True(t, bytes.HasSuffix([]byte(text), []byte("abcde\nend\n")))
		r, err := c.Logs(t.Context(), &container.LogOptions{Tail: 1})
		require.NoError(t, err)
		defer r.Close()
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, "end\n", string(b))
	}
}
