package volumes_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/rootfs"
	"github.com/ctorhq/ctor/internal/volumes"
)

func store(t *testing.T) volumes.Store { return volumes.Store{Dir: filepath.Join(t.TempDir(), "v")} }

func create(t *testing.T, s volumes.Store, name string) {
	t.Helper()
	_, err := s.Create(name, map[string]string{"a": "b"})
	require.NoError(t, err)
}

// write is a filling.
func write(name string) func(context.Context, *rootfs.Root) error {
	return func(_ context.Context, r *rootfs.Root) error { return r.WriteFile(name, nil, 0o644) }
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, d := range list {
		all = append(all, d.Name())
	}
	return all
}

func TestCreate(t *testing.T) {
	s := store(t)
	list, err := s.List()
	require.NoError(t, err)
	require.Empty(t, list)
	_, err = s.Get("a")
	require.ErrorIs(t, err, errdefs.ErrNotFound)
	require.ErrorIs(t, err, fs.ErrNotExist)
	create(t, s, "b")
	create(t, s, "a")
	_, err = s.Create("a", nil)
	require.ErrorIs(t, err, errdefs.ErrAlreadyExists)
	for _, bad := range []string{"", ".", "..", ".new-x", "a/b", "../a", "a\x00", "a b"} {
		_, err := s.Create(bad, nil)
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, "%q", bad)
		_, err = s.Get(bad)
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, "%q", bad)
		_, err = s.Hold(t.Context(), bad)
		require.ErrorIs(t, err, errdefs.ErrInvalidArgument, "%q", bad)
	}
	list, err = s.List()
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, "a", list[0].Name)
	require.Equal(t, map[string]string{"a": "b"}, list[0].Labels)
	require.Equal(t, volumes.Unused, list[0].Stage)
	require.Equal(t, []string{"a", "b"}, names(t, s.Dir), "nothing half made")
}

// Of many that make the same volume one does.
func TestCreateAtOnce(t *testing.T) {
	s := store(t)
	var made atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			switch _, err := s.Create("a", nil); {
			case err == nil:
				made.Add(1)
			case !errdefs.IsAlreadyExists(err):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, made.Load())
	require.Equal(t, []string{"a"}, names(t, s.Dir))
}

func TestUseOnce(t *testing.T) {
	s := store(t)
	create(t, s, "a")
	var fills atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			h, err := s.Use(t.Context(), "a", func(ctx context.Context, r *rootfs.Root) error {
				return write(fmt.Sprint(fills.Add(1)))(ctx, r)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if h.Stage != volumes.Used {
				t.Error(h.Stage)
			}
			h.Release()
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, fills.Load())
	require.Equal(t, []string{"1"}, names(t, s.Data("a")))
}

// A filling that fails leaves the volume as it was; so does one that was cut off.
func TestFillingFails(t *testing.T) {
	s := store(t)
	create(t, s, "a")
	why := errors.New("why")
	_, err := s.Use(t.Context(), "a", func(ctx context.Context, r *rootfs.Root) error {
		return errors.Join(write("half")(ctx, r), r.Chmod(".", 0o700), why)
	})
	require.ErrorIs(t, err, why)
	r, err := s.Get("a")
	require.NoError(t, err)
	require.Equal(t, volumes.Unused, r.Stage)
	require.Empty(t, names(t, s.Data("a")))
	require.EqualValues(t, 0o755, stat(t, s.Data("a")).Perm())
	h, err := s.Use(t.Context(), "a", write("whole"))
	require.NoError(t, err)
	h.Release()
	require.Equal(t, []string{"whole"}, names(t, s.Data("a")))
}

func stat(t *testing.T, name string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(name)
	require.NoError(t, err)
	return info.Mode()
}

// What the program has put there stays as it is.
func TestFilledByProgram(t *testing.T) {
	s := store(t)
	create(t, s, "a")
	h, err := s.Hold(t.Context(), "a")
	require.NoError(t, err)
	r, err := h.Root()
	require.NoError(t, err)
	require.NoError(t, r.WriteFile("mine", nil, 0o600))
	require.NoError(t, r.Close())
	h.Release()
	h, err = s.Use(t.Context(), "a", write("image's"))
	require.NoError(t, err)
	h.Release()
	require.Equal(t, []string{"mine"}, names(t, s.Data("a")))
}

func TestBury(t *testing.T) {
	s := store(t)
	create(t, s, "a")
	no := errors.New("no")
	_, err := s.Bury(t.Context(), "a", func() error { return no })
	require.ErrorIs(t, err, no)
	h, err := s.Hold(t.Context(), "a")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = s.Bury(ctx, "a", func() error { return nil })
	require.ErrorIs(t, err, context.DeadlineExceeded, "it is held")
	h.Release()
	left, err := s.Bury(t.Context(), "a", func() error { return nil })
	require.NoError(t, err)
	list, err := s.List()
	require.NoError(t, err)
	require.Empty(t, list)
	create(t, s, "a") // at once
	require.NoError(t, os.Mkdir(filepath.Join(s.Dir, ".new-x"), 0o700))
	require.NoError(t, s.Sweep())
	require.NoDirExists(t, left)
	require.Equal(t, []string{"a"}, names(t, s.Dir))
	_, err = s.Bury(t.Context(), "b", func() error { return nil })
	require.ErrorIs(t, err, errdefs.ErrNotFound)
}

func BenchmarkList1000(b *testing.B) {
	s := volumes.Store{Dir: b.TempDir()}
	for n := range 1000 {
		_, err := s.Create(fmt.Sprint("v", n), nil)
		require.NoError(b, err)
	}
	for b.Loop() {
		all, err := s.List()
		require.NoError(b, err)
		require.Len(b, all, 1000)
	}
}
