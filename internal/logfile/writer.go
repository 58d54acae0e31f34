package logfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// files is how many files there are at most of a log that has a bound.
const files = 4

// MinLimit is the least bound that a log can have: a file holds some chunks.
const MinLimit = 1 << 20

// DefaultLimit is about what a kubelet keeps (5 files of 10 MiB) and Docker's
// local driver (5 of 20).
const DefaultLimit = 64 << 20

// Writer writes a log. It is safe for use by any number of goroutines.
type Writer struct {
	path string
	full int64 // size that a file does not exceed; 0: none is too big

	mu   sync.Mutex
	f    *os.File
	n    int   // the file's number
	size int64 // of its whole frames
	time int64 // of the last frame
	lost bool  // since the last frame something could not be written
}

// Create starts the log at path, or goes on with the one that is there, behind
// what an earlier writer has left of it. With a limit it never has more bytes on
// disk, the oldest quarter being dropped for new ones; 0 or less is no limit.
// There is one writer at a time: the next waits for it to End, and not for long.
func Create(path string, limit int64) (_ *Writer, err error) {
	w := &Writer{path: path, n: 1}
	if limit > 0 {
		w.full = max(limit, MinLimit) / files
	}
	if all, err := list(path); err == nil && len(all) > 0 {
		w.n = all[len(all)-1]
	}
	if w.f, err = os.OpenFile(file(path, w.n), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	if err = w.take(w.f); err == nil {
		err = w.goOn()
	}
	if err != nil {
		w.f.Close()
		return nil, err
	}
	return w, nil
}

// takeLimit is how long the writer before may take to end: it has no more to
// write, or is dead, and what it had open is being closed.
const takeLimit = 10 * time.Second

// take makes a file this writer's alone, as long as it has it open.
func (w *Writer) take(f *os.File) error {
	for late := time.Now().Add(takeLimit); ; time.Sleep(time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(late) {
			return os.NewSyscallError("flock", err)
		}
	}
}

// goOn finds the end of what there is. A frame that was cut off goes.
func (w *Writer) goOn() error {
	st, err := w.f.Stat()
	if err != nil || st.Size() == 0 && w.n == 1 {
		return err
	}
	p := part{n: w.n, size: st.Size()}
	last := extent{p}.block(p.blocks() - 1)
	var r frames
	r.read(w.f, last.begin, last.end)
	for {
		fr, err := r.next()
		if errors.Is(err, errShort) {
			break
		}
		if err != nil {
			return err
		}
		w.time = fr.time
	}
	w.size = r.offset
	if err := w.f.Truncate(w.size); err != nil {
		return err
	}
	return w.write(again, make([]byte, headerSize))
}

// Announce makes the log at path for a process that will Create it: it can be
// followed from now on.
func Announce(path string) error {
	if all, err := list(path); err != nil || len(all) > 0 {
		return err
	}
	return os.WriteFile(file(path, 1), nil, 0o600)
}

func file(path string, n int) string { return path + "." + strconv.Itoa(n) }

// End marks the log complete and closes it. Another writer may go on with it.
func (w *Writer) End() error {
	return errors.Join(w.write(end, make([]byte, headerSize)), w.f.Close())
}

// write adds a frame. buf holds headerSize bytes of room, then the chunk. When
// it fails the chunk is missing from the log, which a later frame will say.
func (w *Writer) write(s Stream, buf []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.time = max(w.time, time.Now().UnixNano()) // clocks are set back
	var err error
	if w.lost {
		var b [headerSize]byte
		put(b[:], lost, w.time)
		err = w.append(b[:])
	}
	if err == nil {
		put(buf, s, w.time)
		err = w.append(buf)
	}
	w.lost = err != nil
	return err
}

// append writes a frame, into the next file where this one is full.
func (w *Writer) append(frame []byte) error {
	at := placed(w.size, len(frame))
	// Wherever it begins, a last frame fits in as well.
	if w.full > 0 && at+int64(len(frame))+2*headerSize > w.full {
		if err := w.turn(); err != nil {
			return err
		}
		at = 0
	}
	return w.writeAt(frame, at)
}

func (w *Writer) writeAt(frame []byte, at int64) error {
	if _, err := w.f.WriteAt(frame, at); err != nil {
		// Part of a frame would hide those that follow.
		return errors.Join(err, w.f.Truncate(w.size))
	}
	w.size = at + int64(len(frame))
	return nil
}

// turn goes on in a new file. Readers of the old file are told when the new one
// is there.
func (w *Writer) turn() error {
	if oldest := w.n + 1 - files; oldest > 0 {
		if err := os.Remove(file(w.path, oldest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	name := file(w.path, w.n+1)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := w.take(f); err != nil {
		return errors.Join(err, f.Close(), os.Remove(name))
	}
	var b [headerSize]byte
	put(b[:], next, w.time)
	if err := w.writeAt(b[:], placed(w.size, headerSize)); err != nil {
		return errors.Join(err, f.Close(), os.Remove(name))
	}
	w.f.Close()
	w.f, w.n, w.size = f, w.n+1, 0
	return nil
}

var buffers = sync.Pool{New: func() any {
	b := make([]byte, headerSize+chunkSize)
	return &b
}}

// Copy moves r to its end into the log, and into to unless it is nil. If to fails
// it gets no more, but the log goes on: the container must not stall or die
// because a reader went away. Nor because the log can't be written: the log goes
// on when it can, and records what it lacks. Copy returns the first error of
// each.
func (w *Writer) Copy(s Stream, to io.Writer, r io.Reader) error {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	var errTo, errLog error
	for {
		n, err := r.Read((*b)[headerSize:])
		if n > 0 {
			if err := w.write(s, (*b)[:headerSize+n]); err != nil && errLog == nil {
				errLog = fmt.Errorf("log: %w", err)
			}
			if to != nil && errTo == nil {
				errTo = write(to, (*b)[headerSize:headerSize+n])
			}
		}
		if err != nil {
			return errors.Join(errTo, errLog)
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
