package events

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// numbers reads n events after one, and gives their numbers, and what was missed.
func numbers(t *testing.T, l *Log, after uint64, n int) (list []uint64, missed uint64) {
	t.Helper()
	for e, err := range l.After(t.Context(), after) {
		var m *Missed
		switch {
		case err == nil:
			list = append(list, e.Number)
		default:
			require.ErrorAs(t, err, &m)
			missed += m.Last - m.First + 1
		}
		if len(list) == n {
			return list, missed
		}
	}
	return list, missed
}

func add(l *Log, n int) {
	for i := range n {
		l.Add(Event{Kind: "container", ID: fmt.Sprint(i)})
	}
}

// A log goes on where it was closed, or killed in the middle of a line.
func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	l := Open(dir)
	require.Zero(t, l.Last())
	_, err := os.Stat(dir)
	require.ErrorIs(t, err, os.ErrNotExist, "nothing is made for nothing")
	add(l, 3)
	require.NoError(t, l.Close())
	names, err := list(dir)
	require.NoError(t, err)
	f, err := os.OpenFile(filepath.Join(dir, names[0]), os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"Number":4,"Ti`)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	l = Open(dir)
	require.EqualValues(t, 3, l.Last())
	add(l, 2)
	got, missed := numbers(t, l, 1, 4)
	require.Equal(t, []uint64{2, 3, 4, 5}, got)
	require.Zero(t, missed)
	require.NoError(t, l.Close())
	for _, err := range l.After(t.Context(), 5) {
		require.ErrorIs(t, err, ErrClosed)
	}
	// What the disk has lost is no reason not to go on.
	require.NoError(t, os.WriteFile(filepath.Join(dir, names[0]), make([]byte, 100), 0o600))
	l = Open(dir)
	add(l, 1)
	require.Greater(t, l.Last(), uint64(5))
	require.NoError(t, l.Close())
}

// A reader that is too slow for the memory reads the files; one that is too slow for
// those is told how much it has missed. Neither costs the log anything.
func TestSlow(t *testing.T) {
	const many = 10 * keep
	for name, dir := range map[string]string{"files": t.TempDir(), "memory": ""} {
		t.Run(name, func(t *testing.T) {
			l := Open(dir)
			first := l.Last()
			add(l, many)
			got, missed := numbers(t, l, first, keep)
			if dir == "" {
				require.EqualValues(t, many-keep, missed)
				require.EqualValues(t, first+many-keep+1, got[0])
			} else {
				require.Zero(t, missed)
				require.EqualValues(t, first+1, got[0])
			}
			require.NoError(t, l.Close())
		})
	}
	if testing.Short() {
		return
	}
	dir := t.TempDir()
	l := Open(dir)
	pad := string(make([]byte, 512))
	n := 0
	for ; n < (segments+1)*segmentSize/(3<<10); n++ { // a zero is six bytes of JSON
		l.Add(Event{Detail: pad})
	}
	names, err := list(dir)
	require.NoError(t, err)
	require.Len(t, names, segments)
	got, missed := numbers(t, l, 0, 1)
	require.Equal(t, missed+1, got[0])
	require.NotZero(t, missed)
	require.NoError(t, l.Close())
}

// Readers come and go while writers write: each sees each event after its own number
// once, and in order.
func TestReaders(t *testing.T) {
	l := Open(t.TempDir())
	const writers, each = 8, 200
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				l.Add(Event{ID: fmt.Sprint(w), Life: i + 1})
			}
		})
	}
	for range 8 {
		all.Go(func() {
			var cursor uint64
			seen := map[string]int{}
			for cursor < writers*each {
				ctx, cancel := context.WithCancel(t.Context())
				rest := rand.IntN(100)
				for e, err := range l.After(ctx, cursor) {
					if err != nil {
						t.Error(err)
					}
					if e.Number != cursor+1 || e.Life != seen[e.ID]+1 {
						t.Errorf("%+v after %d and %v", e, cursor, seen)
					}
					cursor, seen[e.ID] = e.Number, e.Life
					if rest--; rest < 0 || cursor == writers*each {
						break
					}
				}
				cancel()
			}
		})
	}
	all.Wait()
	require.NoError(t, l.Close())
}

// Readers end with their context, and with the log.
func TestEnd(t *testing.T) {
	l := Open("")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for _, ctx := range []context.Context{ctx, t.Context()} {
		go func() {
			for _, err := range l.After(ctx, l.Last()) {
				ended <- err
			}
		}()
	}
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.NoError(t, l.Close())
	require.ErrorIs(t, <-ended, ErrClosed)
	var none *Log
	none.Add(Event{})
}

func BenchmarkAdd(b *testing.B) {
	l := Open(b.TempDir())
	for b.Loop() {
		l.Add(Event{Kind: "container", Action: "started", ID: "wv76jhx52p7w5ing", Name: "wv76jhx52p7w5ing", Life: 1})
	}
	_ = l.Close()
}

// A reader that knows more than the log, which has lost its end, is told so, and then
// gets what comes.
func TestAhead(t *testing.T) {
	l := Open(t.TempDir())
	defer func() { require.NoError(t, l.Close()) }()
	l.Add(Event{Kind: Volume, Name: "a"})
	ahead := l.Last() + 10
	var told []error
	for e, err := range l.After(t.Context(), ahead) {
		if err != nil {
			told = append(told, err)
			l.Add(Event{Kind: Volume, Name: "b"})
			continue
		}
		require.Equal(t, "b", e.Name)
		break
	}
	require.Len(t, told, 1)
	require.Equal(t, &Missed{ahead - 9, ahead}, told[0])
}
