package events

import (
	"context"
	"errors"
	"iter"
	"os"
	"sync"
	"time"
)

// keep is how many events are kept in memory for readers that are about to read
// them.
const keep = 1024

// Log is the events of an engine. It is safe for use by any number of goroutines.
// nil takes events, and keeps none.
type Log struct {
	dir string // of its files; "": there are none

	mu     sync.Mutex
	last   uint64        // number of the last event
	ring   [keep]Event   // by number
	first  uint64        // the oldest in the ring
	more   chan struct{} // closed when there is another event; nil: nobody waits
	closed bool

	file   *segment      // that is written to; nil: there is none yet
	saved  uint64        // the last event that the files have, or are past
	failed error         // why they have not all; nil: they have
	tried  time.Time     // when that was found
	rest   time.Duration // how long a disk that took nothing is left alone
}

// rest is Log.rest but for tests: a disk may be full for long, and each try costs a call
// of the kernel.
const rest = time.Second

// Open gives the log that is in a directory, which is made when there is something to
// be written. "" is a log that is gone with the program: its numbers are higher than
// those of earlier programs.
func Open(dir string) *Log {
	l := &Log{dir: dir, rest: rest}
	if dir == "" {
		l.last = beyond()
		l.first = l.last + 1
		l.file = &segment{}
	}
	return l
}

// beyond is a number that no log can have come to.
func beyond() uint64 { return uint64(time.Now().UnixMicro()) }

// start reads where the log goes on. It is called with mu held.
func (l *Log) start() {
	if l.file != nil {
		return
	}
	file, last, err := resume(l.dir)
	if err != nil { // it is damaged: what comes is told apart by its numbers
		file, last = &segment{}, beyond()
	}
	l.file, l.last, l.saved, l.first = file, last, last, last+1
}

// Add notes an event, whose number and time are given by the log. While a disk takes
// nothing, events are kept in memory as without one; it is tried again from time to
// time, and then has what is still in memory.
func (l *Log) Add(e Event) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.start()
	l.last++
	e.Number = l.last
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	l.ring[e.Number%keep] = e
	l.first = max(l.first, e.Number-min(e.Number, keep-1))
	if l.dir != "" {
		l.save(l.rest)
	}
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
}

// save writes the events that are in memory alone, unless the disk has failed less than
// rest ago. It is called with mu held.
func (l *Log) save(rest time.Duration) {
	if l.failed == nil || time.Since(l.tried) >= rest {
		l.failed = nil
		for next := max(l.saved+1, l.first); next <= l.last && l.failed == nil; next++ {
			if l.failed = l.file.add(l.dir, l.ring[next%keep]); l.failed == nil {
				l.saved = next
			}
		}
		if l.failed != nil {
			l.tried = time.Now()
		}
	}
	if l.failed != nil {
		l.file.lack(l.last - l.saved)
	}
}

// Last is the number of the last event.
func (l *Log) Last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start()
	return l.last
}

// Close ends all readers, and the files.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
	if l.file == nil {
		return nil
	}
	if l.failed != nil {
		l.save(0)
	}
	return errors.Join(l.failed, l.file.close())
}

// ErrClosed is the error of a reader whose log was closed.
var ErrClosed = errors.New("event log is closed")

// After gives the events after the one of a number, and goes on with those that come,
// until ctx ends, which is its last error. An error that is a *Missed stands for
// events that were dropped; those after it follow. A number higher than the log's last is
// of an event that was lost when the host went down: it gives a *Missed as well.
func (l *Log) After(ctx context.Context, number uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if last := l.Last(); number > last {
			if !yield(Event{}, &Missed{last + 1, number}) {
				return
			}
			number = last
		}
		batch := make([]Event, 0, 64)
		for next := number + 1; ; {
			var more chan struct{}
			var err error
			batch, more, err = l.take(batch[:0], next)
			if err == nil && len(batch) == 0 && more == nil {
				if next, err = l.catchUp(ctx, next, yield); err == errDone {
					return
				}
				if err == nil {
					continue
				}
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
			for _, e := range batch {
				if ctx.Err() != nil {
					yield(Event{}, context.Cause(ctx))
					return
				}
				if !yield(e, nil) {
					return
				}
				next = e.Number + 1
			}
			if len(batch) > 0 {
				continue
			}
			select {
			case <-more:
			case <-ctx.Done():
				yield(Event{}, context.Cause(ctx))
				return
			}
		}
	}
}

// take gives events from a number on that are in memory, or, where there are none yet,
// what is closed when there are; nothing, if that number is there no more.
func (l *Log) take(into []Event, next uint64) (batch []Event, more chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start()
	switch {
	case next > l.last && l.closed:
		return into, nil, ErrClosed
	case next > l.last:
		if l.more == nil {
			l.more = make(chan struct{})
		}
		return into, l.more, nil
	case next < l.first:
		return into, nil, nil
	}
	for ; next <= l.last && len(into) < cap(into); next++ {
		into = append(into, l.ring[next%keep])
	}
	return into, nil, nil
}

// errDone says that a reader wants no more.
var errDone = errors.New("done")

// catchUp gives the events that are in files only, and then the number of the one
// that is in memory.
func (l *Log) catchUp(ctx context.Context, next uint64, yield func(Event, error) bool) (uint64, error) {
	l.mu.Lock()
	inMemory := l.first
	l.mu.Unlock()
	if l.dir != "" {
		for e, err := range read(l.dir, next) {
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return next, err
			}
			if ctx.Err() != nil {
				return next, context.Cause(ctx)
			}
			if err != nil || e.Number >= inMemory {
				break
			}
			if e.Number > next && !yield(Event{}, &Missed{next, e.Number - 1}) {
				return next, errDone
			}
			if !yield(e, nil) {
				return next, errDone
			}
			next = e.Number + 1
		}
	}
	if next < inMemory {
		if !yield(Event{}, &Missed{next, inMemory - 1}) {
			return next, errDone
		}
		next = inMemory
	}
	return next, nil
}
