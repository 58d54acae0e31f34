package libcontainer

import (
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

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
