package quota

import (
	"context"
	"time"

	"github.com/ctorhq/ctor/internal/rootfs"
)

// A Watch bounds what directories may hold together where the kernel does not: it looks
// again and again, and what is written between two looks is not bounded.
type Watch struct {
	Bytes int64    // in the Files that fit into those
	Dirs  []string // one that is not there has nothing

	// Spent is the CPU time that has been used by all that may write there: who writes
	// uses some. An error is that it is not known.
	Spent func() (time.Duration, error)

	// Over is called after each look that finds more than there may be, or that is one too many
	// in a row which could not be made.
	Over func()
}

const (
	// often is the least time between two looks. One that takes long is a twentieth of
	// the time at most.
	often = time.Second
	share = 20

	// seldom is the most time between two looks at directories in which nothing is
	// written, as Spent tells: this program may write there too.
	seldom = time.Minute

	// maxEvaded is how many looks in a row may fail: a program that moves directories
	// without end, or makes them too deep, can't be looked at.
	maxEvaded = 10
)

// Run looks until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	var (
		looked time.Time     // the last time
		spent  time.Duration // by then
		quiet  bool          // the last look was made, and found no more than there may be
		evaded int           // looks in a row that could not be made
	)
	for pause := time.Duration(0); ; {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		now, err := w.Spent()
		pause = often
		if quiet && err == nil && now == spent && time.Since(looked) < seldom {
			continue
		}
		looked, spent = time.Now(), now
		used, files, err := w.used(ctx)
		if err == nil {
			evaded = 0
		} else {
			evaded++
		}
		over := used > w.Bytes || files > Files(w.Bytes)
		quiet = err == nil && !over
		if over || evaded > maxEvaded {
			w.Over()
		}
		pause = max(pause, share*time.Since(looked))
	}
}

// used adds up what is in the directories.
func (w *Watch) used(ctx context.Context) (bytes, files int64, err error) {
	for _, dir := range w.Dirs {
		root, err := rootfs.OpenDir(dir)
		if err != nil {
			continue
		}
		b, n, err := root.In(ctx).Count(ctx)
		bytes, files = bytes+b, files+n
		root.Close()
		if err != nil {
			return bytes, files, err
		}
	}
	return bytes, files, nil
}
