// Package logfile is a container's log on disk: one process writes it, any
// number read it, and it keeps to a bound.
package logfile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// A log is files: path.1, path.2 and so on. When a file has its share of the
// bound the next one follows, and the oldest is deleted. A file is a sequence of
// frames, one for each chunk of output as it came in:
//
//	8 bytes  time, nanoseconds since 1970, big endian, none before the last one's
//	1 byte   stream
//	4 bytes  length, big endian
//	length   bytes
//
// Chunks, not lines: every byte is kept as it was, and a frame costs the same
// whether output comes by the line or by the megabyte. No frame crosses a
// multiple of blockSize in its file: a frame that would cross it begins there
// instead, and leaves a hole. So a reader can begin at any multiple, whatever the
// output is, and a search for a time or a line reads a block or two, not the
// whole log.
//
// The last frame of a log whose writer was killed may be cut off.

// Stream says where a frame's content comes from.
type Stream byte

// The streams. The unexported ones are the log's own.
const (
	hole   Stream = 0 // there is no frame here, and none up to the block's end
	Stdout Stream = 1
	Stderr Stream = 2
	next   Stream = 3 // the log goes on in the next file
	end    Stream = 4 // the log is complete, unless it goes on
	lost   Stream = 5 // there was output here that could not be written
	again  Stream = 6 // it goes on, with what another writer has of it
)

const (
	headerSize = 13
	chunkSize  = 64 << 10
	blockSize  = 16 * (headerSize + chunkSize)
)

// placed gives the offset of a frame of n bytes that is written, or looked
// for, at an offset.
func placed(offset int64, n int) int64 {
	if room := blockSize - offset%blockSize; room < int64(n) {
		return offset + room
	}
	return offset
}

// put writes a frame's header into the room that b has for it before the
// content.
func put(b []byte, s Stream, time int64) {
	binary.BigEndian.PutUint64(b, uint64(time))
	b[8] = byte(s)
	binary.BigEndian.PutUint32(b[9:], uint32(len(b)-headerSize))
}

// errShort is met at the end of what has been written so far.
var errShort = errors.New("log ends here")

// frame is a frame that was read.
type frame struct {
	offset int64
	time   int64
	stream Stream
	data   []byte // valid until the next is read
}

// frames reads a file that may still grow: after errShort, next takes up where
// it was.
type frames struct {
	f      *os.File
	offset int64 // of the next one
	limit  int64 // what begins or ends beyond it is not read
	behind bool  // buf is not at offset
	buf    *bufio.Reader
	data   []byte
}

// read goes to a place in a file.
func (r *frames) read(f *os.File, offset, limit int64) {
	r.f, r.offset, r.limit, r.behind = f, offset, limit, true
}

func (r *frames) skipTo(offset int64) { r.offset, r.behind = offset, true }

func (r *frames) next() (frame, error) {
	for {
		if at := placed(r.offset, headerSize); at != r.offset {
			r.skipTo(at)
		}
		r.catchUp()
		var h [headerSize]byte
		if _, err := io.ReadFull(r.buf, h[:]); err != nil {
			return frame{}, r.short(err)
		}
		fr := frame{offset: r.offset, time: int64(binary.BigEndian.Uint64(h[:])), stream: Stream(h[8])}
		if fr.stream == hole {
			r.skipTo(r.offset - r.offset%blockSize + blockSize)
			continue
		}
		n := binary.BigEndian.Uint32(h[9:])
		if n > chunkSize {
			return frame{}, fmt.Errorf("log: frame of %d bytes at offset %d", n, r.offset)
		}
		if r.data == nil {
			r.data = make([]byte, chunkSize)
		}
		fr.data = r.data[:n]
		if _, err := io.ReadFull(r.buf, fr.data); err != nil {
			return frame{}, r.short(err)
		}
		r.offset += headerSize + int64(n)
		return fr, nil
	}
}

func (r *frames) catchUp() {
	if !r.behind {
		return
	}
	r.behind = false
	section := io.NewSectionReader(r.f, r.offset, max(0, r.limit-r.offset))
	if r.buf == nil {
		r.buf = bufio.NewReaderSize(section, chunkSize)
	} else {
		r.buf.Reset(section)
	}
}

func (r *frames) short(err error) error {
	r.behind = true // read again from offset
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errShort
	}
	return err
}
