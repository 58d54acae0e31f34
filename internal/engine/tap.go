package engine

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
)

// Tap passes a blob on while it arrives: who fetches it calls Pass, and who
// unpacks it reads. The one waits for the other when it is far ahead.
type Tap struct {
	ctx  context.Context
	size int64
	at   atomic.Int64 // how much was passed
	buf  []byte       // that is being filled
	gap  bool         // something was left out

	full, free chan []byte
	closed     chan struct{} // the reader has left

	now, left []byte // that is being read, and what is left of it
	err       error  // of the fetch; may be read when full is closed
}

// A tap holds so much at most.
const (
	tapChunks = 4
	tapChunk  = 256 << 10
)

// errGap is the error of a blob that was not seen whole: some of it was in the
// store already.
var errGap = errors.New("the blob did not arrive in one piece")

func newTap(ctx context.Context, size int64) *Tap {
	t := &Tap{ctx: ctx, size: size, full: make(chan []byte, tapChunks), free: make(chan []byte, tapChunks), closed: make(chan struct{})}
	for range tapChunks {
		t.free <- nil // is made when it is needed
	}
	return t
}

// Pass passes on what has arrived, and from which byte of the blob on it is. It
// never fails; a nil Tap does nothing.
func (t *Tap) Pass(at int64, p []byte) {
	if t == nil || t.gap {
		return
	}
	if at != t.at.Load() {
		t.gap = true
		return
	}
	t.at.Add(int64(len(p)))
	for len(p) > 0 {
		if cap(t.buf) == 0 && !t.take() {
			t.gap = true
			return
		}
		n := copy(t.buf[len(t.buf):cap(t.buf)], p)
		t.buf, p = t.buf[:len(t.buf)+n], p[n:]
		if len(t.buf) == cap(t.buf) {
			t.flush()
		}
	}
}

// take gets a chunk to fill.
func (t *Tap) take() bool {
	select {
	case t.buf = <-t.free:
		if t.buf == nil {
			t.buf = make([]byte, 0, tapChunk)
		}
		return true
	case <-t.closed:
	case <-t.ctx.Done():
	}
	return false
}

func (t *Tap) flush() {
	if len(t.buf) > 0 {
		t.full <- t.buf // there are no more chunks than it holds
	}
	t.buf = nil
}

// end says that no more comes, and how the fetch went.
func (t *Tap) end(err error) {
	if err == nil && (t.gap || t.at.Load() != t.size) {
		err = errGap
	}
	t.flush()
	t.err = err
	close(t.full)
}

// missing is how much is still to come.
func (t *Tap) missing() int64 { return t.size - t.at.Load() }

// begun waits for the first bytes, and tells whether there are any.
func (t *Tap) begun() bool {
	var ok bool
	t.left, ok = <-t.full
	t.now = t.left
	return ok
}

// Read implements io.Reader.
func (t *Tap) Read(p []byte) (int, error) {
	for len(t.left) == 0 {
		if t.now != nil {
			t.free <- t.now[:0]
			t.now = nil
		}
		select {
		case chunk, ok := <-t.full:
			if !ok {
				if t.err != nil {
					return 0, t.err
				}
				return 0, io.EOF
			}
			t.now, t.left = chunk, chunk
		case <-t.closed:
			return 0, io.ErrClosedPipe
		}
	}
	n := copy(p, t.left)
	t.left = t.left[n:]
	return n, nil
}

// Close ends the reading. It is called once.
func (t *Tap) Close() error {
	close(t.closed)
	return nil
}
