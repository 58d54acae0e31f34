package journal

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Whatever a power cut leaves of the last change, the one before it is there, and the
// next one is made.
func TestTorn(t *testing.T) {
	for _, changes := range []int{1, 2, 5, 6} {
		dir := t.TempDir()
		j := At(dir)
		count := func(p *Past) { p.Lives++ }
		for range changes - 1 {
			_, err := j.Change(count)
			require.NoError(t, err)
		}
		before, _ := os.ReadFile(j.path())
		_, err := j.Change(count)
		require.NoError(t, err)
		after, err := os.ReadFile(j.path())
		require.NoError(t, err)
		before = append(before, make([]byte, len(after)-len(before))...)
		for cut := range after {
			if before[cut] == after[cut] {
				continue // not of the change
			}
			torn := append(bytes.Clone(after[:cut]), before[cut:]...)
			if cut%2 == 0 { // the disk may have written the rest, and not this
				torn = append(append(bytes.Clone(after[:cut]), before[cut]), after[cut+1:]...)
			}
			require.NoError(t, os.WriteFile(j.path(), torn, 0o600))
			require.Equal(t, changes-1, At(dir).Read().Lives, "%d", cut)
			_, err := At(dir).Change(count)
			require.NoError(t, err)
			require.Equal(t, changes, At(dir).Read().Lives)
		}
	}
}

// A disk that is full takes changes of a journal that it has.
func TestFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it needs root")
	}
	disk := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", disk, "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(disk, unix.MNT_DETACH)) })
	j := At(disk)
	_, err := j.Begin(time.Now(), "me")
	require.NoError(t, err)
	require.ErrorIs(t, os.WriteFile(filepath.Join(disk, "filler"), make([]byte, 64<<10), 0o600), unix.ENOSPC)
	for range 3 {
		_, err = j.Change(func(p *Past) { p.Restarts++ })
		require.NoError(t, err)
	}
	require.Equal(t, 3, j.Read().Restarts)
	_, err = j.Change(func(p *Past) { p.Owner = string(make([]byte, slotSize)) })
	require.Error(t, err)
	require.Equal(t, "me", j.Read().Owner)
}
