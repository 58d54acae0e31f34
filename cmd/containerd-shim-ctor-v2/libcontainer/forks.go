package libcontainer

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// forks are the threads that containers' processes are started on.
//
// A process gets its parent death signal when the thread that forked it ends,
// not only when its process does, and Go ends threads as it likes. These stay.
// Two are enough to keep two CPUs busy, and more were slower.
type forks struct{ jobs chan func(tid int) }

func newForks(n int) *forks {
	f := &forks{jobs: make(chan func(int))}
	for range n {
		go f.run()
	}
	return f
}

func (f *forks) run() {
	runtime.LockOSThread()
	// Or close would end the thread, and with it its containers.
	defer runtime.UnlockOSThread()
	tid := unix.Gettid()
	if tid == unix.Getpid() {
		// To its first thread a subreaper's orphans come, at any time: they
		// would seem to be what a start has forked.
		other := make(chan struct{})
		go func() { defer close(other); f.run() }()
		<-other
		return
	}
	for job := range f.jobs {
		job(tid)
	}
}

func (f *forks) close() { close(f.jobs) }

// do runs start, which forks, on one of the threads. When ctx ends meanwhile,
// the processes that start has forked by then are killed, which ends start.
// When start fails none is left, and none unwaited for.
func (f *forks) do(ctx context.Context, start func() error) error {
	done := make(chan error, 1)
	job := func(tid int) {
		if err := ctx.Err(); err != nil {
			done <- err
			return
		}
		before := children(tid)
		stop := killWhenDone(ctx, tid, before)
		err := start()
		stop()
		if err != nil {
			reap(tid, before)
			if ctx.Err() != nil {
				err = ctx.Err()
			}
		}
		done <- err
	}
	select {
	case f.jobs <- job:
		return <-done
	case <-ctx.Done():
		return ctx.Err()
	}
}

// killWhenDone kills the children of the thread that are not among before,
// again and again, from the end of ctx until stop is called.
func killWhenDone(ctx context.Context, tid int, before map[int]bool) (stop func()) {
	quit, quitted := make(chan struct{}), make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(quitted)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			for pid := range children(tid) {
				if !before[pid] {
					kill(tid, pid)
				}
			}
			select {
			case <-quit:
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		close(quit)
		if !unhook() {
			<-quitted
		}
	}
}
