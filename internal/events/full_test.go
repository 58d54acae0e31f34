package events

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// full is a log on a disk that takes no more, and what gives the disk room again.
func full(t *testing.T) (l *Log, dir string, room func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("it needs root")
	}
	disk := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", disk, "tmpfs", 0, "size=256k"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(disk, unix.MNT_DETACH)) })
	l, dir = Open(filepath.Join(disk, "events")), filepath.Join(disk, "events")
	l.rest = 0
	add(l, 3)
	filler := filepath.Join(disk, "filler")
	f, err := os.Create(filler)
	require.NoError(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	require.NoError(t, f.Close())
	return l, dir, func() { require.NoError(t, os.Remove(filler)) }
}

// A disk that is full for a while costs no reader an event, neither then nor after the
// program's end.
func TestFullForAWhile(t *testing.T) {
	l, dir, room := full(t)
	add(l, 500)
	require.ErrorIs(t, l.failed, unix.ENOSPC)
	got, missed := numbers(t, l, 0, 503)
	require.Len(t, got, 503)
	require.Zero(t, missed)
	room()
	add(l, 1)
	require.NoError(t, l.Close())
	l = Open(dir)
	require.EqualValues(t, 504, l.Last())
	got, missed = numbers(t, l, 0, 504)
	require.Len(t, got, 504)
	require.Zero(t, missed)
	require.NoError(t, l.Close())
}

// What a full disk has never taken has numbers of its own all the same: a reader of an
// earlier program's is told what is gone, and gets all that is new.
func TestFullToTheEnd(t *testing.T) {
	l, dir, room := full(t)
	add(l, 500)
	saved := l.saved
	require.Less(t, saved, uint64(503))
	require.ErrorIs(t, l.Close(), unix.ENOSPC)
	room()
	l = Open(dir)
	require.EqualValues(t, 503, l.Last())
	add(l, 2)
	got, missed := numbers(t, l, 0, int(saved)+2)
	require.EqualValues(t, 503-saved, missed)
	require.EqualValues(t, []uint64{504, 505}, got[saved:])
	got, missed = numbers(t, l, 503, 2)
	require.Equal(t, []uint64{504, 505}, got)
	require.Zero(t, missed)
	require.NoError(t, l.Close())
}

// Of a disk that is full for longer than the memory reaches, readers are told what they
// have missed.
func TestFullForLong(t *testing.T) {
	l, dir, room := full(t)
	add(l, 3*keep)
	saved := l.saved
	room()
	add(l, 1)
	require.NoError(t, l.Close())
	l = Open(dir)
	got, missed := numbers(t, l, 0, int(saved)+keep)
	require.EqualValues(t, 3+3*keep+1, l.Last())
	require.EqualValues(t, l.Last()-saved-keep, missed)
	require.Equal(t, l.Last(), got[len(got)-1])
	require.NoError(t, l.Close())
}
