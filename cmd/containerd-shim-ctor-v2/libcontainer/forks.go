package libcontainer

import (
	"context"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// forks are the threads that containers' processes are started on.
//
// A process gets its parent death signal when the thread that forked it ends,
// not only when its process does, and Go ends threads as it likes. These stay.
// Two are enough to keep two CPUs busy, and more were slower. But a container
// can hold a thread that starts a process in it, by stopping that process: while
// all are held, others are added.
type forks struct {
	// The channel is the queue: Go serves those who wait to send in the order in
	// which they came. A caller that left its select at each tick and came back
	// would go to the end of the queue each time, and later callers would overtake it.
	jobs chan func(tid int)

	mu      sync.Mutex
	waiting int         // callers in the queue
	taken   int         // jobs taken, ever
	watch   *time.Timer // runs while callers wait
}

// heldLimit is how long all threads may be at work on what they took before.
const heldLimit = time.Second

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

// give has a thread take a job, first come, first served.
func (f *forks) give(ctx context.Context, job func(tid int)) error {
	f.join()
	defer f.leave()
	select {
	case f.jobs <- job:
		f.mu.Lock()
		defer f.mu.Unlock()
		f.taken++
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join notes one more in the queue. The first begins the watch.
func (f *forks) join() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting++; f.waiting == 1 {
		f.look()
	}
}

// leave ends the watch when no caller waits any more.
func (f *forks) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.watch.Stop()
		f.watch = nil
	}
}

// look adds a thread when none has taken a job for the limit, and looks again
// as long as a caller waits. It is called with mu held.
func (f *forks) look() {
	seen := f.taken
	var watch *time.Timer
	watch = time.AfterFunc(heldLimit, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.watch != watch { // it was stopped too late
			return
		}
		if f.taken == seen {
			go f.run()
		}
		f.look()
	})
	f.watch = watch
}

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
	if err := f.give(ctx, job); err != nil {
		return err
	}
	return <-done
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
