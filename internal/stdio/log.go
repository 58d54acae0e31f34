// Package stdio carries a container's standard streams: between fifos and the
// program's readers and writers, and into the container's log.
package stdio

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// A log is a sequence of frames, one for each chunk of output as it came in:
//
//	8 bytes  time, nanoseconds since 1970, big endian
//	1 byte   stream
//	4 bytes  length
//	length   bytes
//
// Chunks, not lines: every byte is kept as it was, and a frame costs the same
// whether output comes by the line or by the megabyte. A log that was brought
// to its end closes with a frame of stream end. The last frame of one that was
// not, because its writer was killed, may be cut off.

// Stream says where a frame of a log came from.
type Stream byte

// The streams. end is that of the last frame.
const (
	end    Stream = 0
	Stdout Stream = 1
	Stderr Stream = 2
)

const (
	headerSize = 13
	chunkSize  = 64 << 10
)

// Log is a container's log, open for writing.
type Log struct {
	mu  sync.Mutex
	f   *os.File
	err error // of the first write that failed
}

// Create starts or goes on with the log at path.
func Create(path string) (*Log, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &Log{f: f}, nil
}

// End marks the log complete and closes it.
func (l *Log) End() error {
	return errors.Join(l.write(end, make([]byte, headerSize)), l.f.Close())
}

// write adds a frame. buf holds headerSize bytes of room, then the chunk. A
// full disk may have cut a frame off, so none follows one that failed: a
// reader finds all that was written before.
func (l *Log) write(s Stream, buf []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	binary.BigEndian.PutUint64(buf, uint64(time.Now().UnixNano()))
	buf[8] = byte(s)
	binary.BigEndian.PutUint32(buf[9:], uint32(len(buf)-headerSize))
	if l.err == nil {
		_, l.err = l.f.Write(buf)
	}
	return l.err
}

var buffers = sync.Pool{New: func() any {
	b := make([]byte, headerSize+chunkSize)
	return &b
}}

// Copy moves r to its end into the log, and into w unless it is nil. A w that
// fails gets no more, but the log goes on: the container must not stall or die
// of a reader that went away. It returns w's error, or the log's.
func (l *Log) Copy(s Stream, w io.Writer, r io.Reader) error {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	var errW, errL error
	for {
		n, err := r.Read((*b)[headerSize:])
		if n > 0 {
			if errL == nil {
				errL = l.write(s, (*b)[:headerSize+n])
			}
			if w != nil && errW == nil {
				errW = write(w, (*b)[headerSize:headerSize+n])
			}
		}
		if err != nil {
			return errors.Join(errW, errL)
		}
	}
}

func write(w io.Writer, p []byte) error {
	n, err := w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// errShort is met at the end of what has been written so far.
var errShort = errors.New("log ends here")

// frame is a chunk of output that is read.
type frame struct {
	time   time.Time
	stream Stream
	data   []byte // valid until the next read
}

// frames reads a log that may still grow: after errShort, next takes up where
// it was.
type frames struct {
	f      *os.File
	offset int64
	buf    *bufio.Reader
	data   []byte
}

func newFrames(f *os.File) *frames { return &frames{f: f} }

func (r *frames) next() (frame, error) {
	if r.buf == nil {
		r.buf = bufio.NewReaderSize(io.NewSectionReader(r.f, r.offset, 1<<62), chunkSize)
	}
	var h [headerSize]byte
	if _, err := io.ReadFull(r.buf, h[:]); err != nil {
		return frame{}, r.short(err)
	}
	n := binary.BigEndian.Uint32(h[9:])
	if n > chunkSize {
		return frame{}, fmt.Errorf("log: frame of %d bytes at offset %d", n, r.offset)
	}
	if cap(r.data) < int(n) {
		r.data = make([]byte, chunkSize)
	}
	if _, err := io.ReadFull(r.buf, r.data[:n]); err != nil {
		return frame{}, r.short(err)
	}
	r.offset += headerSize + int64(n)
	return frame{time.Unix(0, int64(binary.BigEndian.Uint64(h[:]))), Stream(h[8]), r.data[:n]}, nil
}

func (r *frames) short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		r.buf = nil // read again from offset
		return errShort
	}
	return err
}
