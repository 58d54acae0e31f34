package libcontainer

import (
	"context"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Threads that are held, and for ever, keep nobody from starting.
func TestForksHeld(t *testing.T) {
	f := newForks(2)
	defer f.close()
	var (
		held   = make(chan struct{})
		stuck  sync.WaitGroup
		begun  = make(chan struct{}, 4)
		doomed = func() error { begun <- struct{}{}; <-held; return nil }
	)
	for range 4 {
		stuck.Go(func() { _ = f.do(context.Background(), doomed) })
	}
	<-begun
	<-begun
	require.NoError(t, f.do(t.Context(), func() error { return nil }))
	close(held)
	stuck.Wait()
}

// Those who wait are served in the order in which they came, however long that
// takes and whatever is done about threads that are held meanwhile.
func TestForksFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newForks(1)
		var (
			held = make(chan struct{})
			wg   sync.WaitGroup
			mu   sync.Mutex
			got  []int
		)
		const callers = 20
		for n := range callers {
			wg.Go(func() {
				_ = f.do(context.Background(), func() error {
					mu.Lock()
					got = append(got, n)
					mu.Unlock()
					<-held
					return nil
				})
			})
			synctest.Wait() // it is in the queue
			time.Sleep(heldLimit / 7)
		}
		time.Sleep(3 * callers * heldLimit) // a thread for each is added
		close(held)
		wg.Wait()
		f.close()
		want := make([]int, callers)
		for n := range want {
			want[n] = n
		}
		require.Equal(t, want, got)
	})
}

// A subreaper's orphans come to its first thread. What a failed start leaves is
// killed, so none may be made there.
func TestForksFirstThread(t *testing.T) {
	const threads = 100 // more than there are idle ones, of which the first may be one
	f := newForks(threads)
	defer f.close()
	var (
		wg, all sync.WaitGroup
		mu      sync.Mutex
		tids    = map[int]bool{}
	)
	all.Add(threads)
	for range threads {
		wg.Go(func() {
			f.jobs <- func(tid int) {
				mu.Lock()
				tids[tid] = true
				mu.Unlock()
				all.Done()
				all.Wait() // each has one
			}
		})
	}
	wg.Wait()
	all.Wait()
	require.Len(t, tids, threads)
	require.NotContains(t, tids, os.Getpid())
}
