package packing

import "io"

// ahead reads on while what was read is used, which takes turns else: one
// processor decompresses a layer and the other writes its files.
type ahead struct {
	n    int64 // that were used
	full chan chunk
	free chan []byte // of it each chunk; closed: no more is wanted
	now  chunk
}

type chunk struct {
	buf  []byte // as long as it was made
	left []byte // of it, still to be used
	err  error  // after it
}

const (
	chunks    = 4
	chunkSize = 256 << 10
)

// readAhead reads from a reader until Close.
func readAhead(from io.Reader) *ahead {
	a := &ahead{full: make(chan chunk, chunks), free: make(chan []byte, chunks)}
	for range chunks {
		a.free <- make([]byte, chunkSize)
	}
	go func() {
		defer close(a.full)
		for buf := range a.free {
			n, err := fill(buf, from)
			a.full <- chunk{buf, buf[:n], err}
			if err != nil {
				return
			}
		}
	}()
	return a
}

// fill is io.ReadFull that keeps the reader's own error.
func fill(buf []byte, from io.Reader) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = from.Read(buf[n:])
		n += m
	}
	return n, err
}

// Read implements io.Reader.
func (a *ahead) Read(p []byte) (int, error) {
	for len(a.now.left) == 0 {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.buf != nil {
			a.free <- a.now.buf
		}
		a.now = <-a.full
	}
	n := copy(p, a.now.left)
	a.now.left = a.now.left[n:]
	a.n += int64(n)
	return n, nil
}

// Close ends the reading, and waits for it. It is called once.
func (a *ahead) Close() error {
	close(a.free)
	for range a.full {
	}
	return nil
}
