package logfile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"sync"
	"time"
)

// ErrGap is what a Read gives that finds output missing: what the log has
// dropped before it was read, or could not write. The next Read goes on after
// the gap.
var ErrGap = errors.New("output is missing from the log")

// ErrDeleted is what a Read gives when the log is gone before it is read.
var ErrDeleted = errors.New("the log was deleted before it was read to its end")

// Options say what a Reader gives. The zero value is nothing: a stream has to
// be chosen.
type Options struct {
	Stdout, Stderr bool
	Since          time.Time // zero: from the beginning
	Tail           int       // lines of what there is at the opening; 0: all; less: none
	Timestamps     bool

	// Follow waits for more until the log is complete, or what Ended gives is
	// closed and all is read. That is io.EOF; when the log goes on, so does the
	// reader.
	Follow bool
	Ended  func() <-chan struct{} // asked while there is nothing to read; nil: never closed

	// Once ends where the log is complete the first time, or goes on the first
	// time, and does not go on with it. What is before Since does not count.
	Once bool

	// Through waits for more also where the log is complete: it may go on.
	Through bool
}

func (o *Options) want(fr frame) bool {
	return (o.Stdout && fr.stream == Stdout || o.Stderr && fr.stream == Stderr) && o.late(fr)
}

func (o *Options) late(fr frame) bool { return o.Since.IsZero() || fr.time >= o.Since.UnixNano() }

// Reader gives the bytes of a log. One goroutine may read, and any close.
type Reader struct {
	ctx   context.Context
	o     Options
	path  string
	until part   // not with Follow: what there was at the opening
	watch *watch // with Follow

	frames  frames
	n       int // the file's number
	skip    int // bytes of the next frame's content
	pending []byte
	stamp   []byte // of the line that pending begins with
	within  bool   // a line: its stamp was given
	time    int64  // of pending
	missed  bool   // a gap was told
	whole   bool   // the last frame was the log's end
	ended   bool   // there is no more to read

	mu     sync.Mutex
	f      *os.File
	closed bool
}

// Open begins to read the log at path. Without one the error is
// fs.ErrNotExist. The end of ctx ends the reading, with its error.
func Open(ctx context.Context, path string, o Options) (*Reader, error) {
	x, err := measure(path)
	if err != nil {
		return nil, err
	}
	begin, err := find(path, x, o)
	if err != nil {
		return nil, err
	}
	r := &Reader{ctx: ctx, o: o, path: path, until: x.last(), n: begin.n - 1}
	if o.Follow {
		r.watch = newWatch(ctx, o.Ended)
	}
	err = r.advance()
	if err != nil && !errors.Is(err, ErrGap) { // what is dropped already is not missed
		return nil, errors.Join(err, r.Close())
	}
	if r.n == begin.n {
		r.skip = begin.skip
		r.frames.skipTo(begin.offset)
	}
	return r, nil
}

// find gives the position that reading begins at.
func find(path string, x extent, o Options) (position, error) {
	s := search{path: path, extent: x, want: o.want}
	defer s.close()
	first := 0
	if !o.Since.IsZero() {
		var err error
		if first, err = s.since(o.Since.UnixNano()); err != nil {
			return position{}, err
		}
	}
	if o.Tail == 0 {
		b := s.block(first)
		return position{n: b.n, offset: b.begin}, nil
	}
	return s.tail(o.Tail, first)
}

// advance goes to the next file. One that has been dropped is a gap, and with
// none there the error is ErrDeleted.
func (r *Reader) advance() error {
	for n := r.n + 1; ; {
		f, err := os.Open(file(r.path, n))
		if err == nil {
			gap := n != r.n+1
			if err = r.turn(f, n); err == nil && gap {
				err = r.miss()
			}
			return err
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		all, err := list(r.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if len(all) == 0 || all[len(all)-1] <= r.n {
			return ErrDeleted
		}
		for _, n = range all {
			if n > r.n {
				break
			}
		}
	}
}

// turn goes to a file.
func (r *Reader) turn(f *os.File, n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		f.Close()
		return os.ErrClosed
	}
	if r.watch != nil {
		r.watch.turn(f)
	}
	if r.f != nil {
		r.f.Close()
	}
	limit := int64(math.MaxInt64)
	if r.watch == nil {
		r.ended = n > r.until.n
		if n == r.until.n {
			limit = r.until.size
		}
	}
	r.f, r.n, r.skip = f, n, 0
	r.frames.read(f, 0, limit)
	return nil
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	err := context.Cause(r.ctx)
	if r.isClosed() { // the goroutine that closes may end ctx right after
		return 0, os.ErrClosed
	}
	if err != nil {
		return 0, err
	}
	for len(r.pending) == 0 {
		if r.ended {
			return 0, io.EOF
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	if !r.o.Timestamps {
		n := copy(p, r.pending)
		r.pending = r.pending[n:]
		return n, nil
	}
	return r.stamped(p), nil
}

// stampLayout is RFC 3339 with all digits, as Docker writes it: columns align.
const stampLayout = "2006-01-02T15:04:05.000000000Z07:00 "

// stamped gives pending with the time before each line.
func (r *Reader) stamped(p []byte) (n int) {
	for n < len(p) && len(r.pending) > 0 {
		if !r.within {
			r.within = true
			r.stamp = time.Unix(0, r.time).UTC().AppendFormat(r.stamp[:0], stampLayout)
		}
		if len(r.stamp) > 0 {
			c := copy(p[n:], r.stamp)
			r.stamp, n = r.stamp[c:], n+c
			continue
		}
		line := r.pending
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i+1]
		}
		c := copy(p[n:], line)
		r.within = line[c-1] != '\n'
		r.pending, n = r.pending[c:], n+c
	}
	return n
}

// fill gets the next bytes, or notes the end.
func (r *Reader) fill() error {
	final := false // there will be no more than there is
	for {
		fr, err := r.frames.next()
		if err == nil {
			return r.take(fr)
		}
		if !errors.Is(err, errShort) {
			return err
		}
		if r.watch == nil || final {
			return r.short()
		}
		if r.whole && !r.o.Through {
			return io.EOF
		}
		more, err := r.watch.wait()
		if err != nil {
			return err
		}
		// What was written before the end is looked for once more.
		final = !more
	}
}

func (r *Reader) take(fr frame) error {
	skip := r.skip
	r.skip = 0
	r.whole = fr.stream == end
	switch fr.stream {
	case end, again:
		r.ended = r.o.Once && r.o.late(fr)
	case next:
		if r.watch == nil && r.n >= r.until.n {
			r.ended = true
			return nil
		}
		return r.advance()
	case lost:
		return r.miss()
	default:
		r.missed = false
		if r.o.want(fr) {
			r.pending, r.time = fr.data[min(skip, len(fr.data)):], fr.time
		}
	}
	return nil
}

// miss tells of a gap, once until something follows it.
func (r *Reader) miss() error {
	if r.missed {
		return nil
	}
	r.missed, r.within = true, false
	return ErrGap
}

// short is met where a file ends without saying how the log goes on. It may
// have been the writer's last act to make the next one.
func (r *Reader) short() error {
	if r.watch == nil && r.n >= r.until.n {
		r.ended = true
		return nil
	}
	err := r.advance()
	if errors.Is(err, ErrDeleted) {
		return io.EOF // with Follow: it may go on yet
	}
	return err
}

func (r *Reader) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// Close ends the reading; a Read that waits returns, with os.ErrClosed.
func (r *Reader) Close() error {
	r.mu.Lock()
	var err error
	if !r.closed && r.f != nil {
		err = r.f.Close()
	}
	r.closed = true
	r.mu.Unlock()
	if r.watch != nil {
		r.watch.close()
	}
	return err
}

// Complete waits until the log at path has been brought to its end.
func Complete(ctx context.Context, path string) error {
	r, err := Open(ctx, path, Options{Tail: -1, Follow: true})
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		if _, err := io.Copy(io.Discard, r); !errors.Is(err, ErrGap) {
			return err
		}
	}
}
