package services

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// counted counts the transactions of a database, and holds the first one up.
type counted struct {
	*bolt.DB
	updates atomic.Int32
	first   chan struct{}
}

func (c *counted) Update(f func(*bolt.Tx) error) error {
	if c.updates.Add(1) == 1 {
		<-c.first
	}
	return c.DB.Update(f)
}

func newLessor(t *testing.T) (context.Context, *lessor, *counted) {
	file, err := bolt.Open(filepath.Join(t.TempDir(), "meta.db"), 0o600, nil)
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	c := &counted{DB: file, first: make(chan struct{})}
	db := metadata.NewDB(c, nil, nil)
	return namespaces.WithNamespace(t.Context(), "test"), &lessor{Manager: metadata.NewLeaseManager(db), update: db.Update}, c
}

// waits tells how many changes wait for the one that is made.
func (l *lessor) waits() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

func named(id string) leases.Opt { return func(l *leases.Lease) error { l.ID = id; return nil } }

// Changes that come while one is made are made together; one of them that fails does
// no harm to the others.
func TestLeasesTogether(t *testing.T) {
	const more = 20
	for _, bad := range []bool{false, true} {
		ctx, l, db := newLessor(t)
		errs := make([]error, more)
		var all sync.WaitGroup
		all.Go(func() { _, err := l.Create(ctx, named("first")); require.NoError(t, err) })
		require.Eventually(t, func() bool { return db.updates.Load() == 1 }, time.Minute, time.Millisecond)
		for i := range more {
			all.Go(func() {
				id := fmt.Sprint(i)
				if bad && i == 7 {
					id = "first"
				}
				_, errs[i] = l.Create(ctx, named(id))
			})
		}
		require.Eventually(t, func() bool { return l.waits() == more }, time.Minute, time.Millisecond)
		close(db.first)
		all.Wait()
		for i, err := range errs {
			if bad && i == 7 {
				require.True(t, errdefs.IsAlreadyExists(err), "%v", err)
				continue
			}
			require.NoError(t, err)
		}
		if bad {
			require.EqualValues(t, 2+more, db.updates.Load(), "the first, what was undone, and each by itself")
		} else {
			require.EqualValues(t, 2, db.updates.Load())
		}
		made, err := l.List(ctx)
		require.NoError(t, err)
		require.Len(t, made, map[bool]int{false: more + 1, true: more}[bad])
	}
}

// A change that panics leaves nobody waiting.
func TestLeasesPanic(t *testing.T) {
	ctx, l, db := newLessor(t)
	var all sync.WaitGroup
	all.Go(func() { _, err := l.Create(ctx, named("first")); require.NoError(t, err) })
	require.Eventually(t, func() bool { return db.updates.Load() == 1 }, time.Minute, time.Millisecond)
	all.Go(func() { // it makes what waits, since it came first
		require.Panics(t, func() { _, _ = l.Create(ctx, func(*leases.Lease) error { panic("on purpose") }) })
	})
	require.Eventually(t, func() bool { return l.waits() == 1 }, time.Minute, time.Millisecond)
	all.Go(func() {
		_, err := l.Create(ctx, named("last"))
		require.ErrorContains(t, err, "panicked")
	})
	require.Eventually(t, func() bool { return l.waits() == 2 }, time.Minute, time.Millisecond)
	close(db.first)
	all.Wait()
	_, err := l.Create(ctx, named("later"))
	require.NoError(t, err)
}

// Many at once, of all kinds.
func TestLeasesSideBySide(t *testing.T) {
	ctx, l, db := newLessor(t)
	close(db.first)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			lease, err := l.Create(ctx, named(fmt.Sprint(i)))
			require.NoError(t, err)
			r := leases.Resource{ID: fmt.Sprint("layer", i), Type: "snapshots/overlayfs"}
			require.NoError(t, l.AddResource(ctx, lease, r))
			has, err := l.ListResources(ctx, lease)
			require.NoError(t, err)
			require.Equal(t, []leases.Resource{r}, has)
			require.NoError(t, l.DeleteResource(ctx, lease, r))
			require.NoError(t, l.Delete(ctx, lease))
			require.True(t, errdefs.IsNotFound(l.AddResource(ctx, lease, r)))
		})
	}
	all.Wait()
	left, err := l.List(ctx)
	require.NoError(t, err)
	require.Empty(t, left)
}
