package rootfs

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// extent is a part of a file: bytes that were written, and holes too small to
// matter.
type extent struct{ start, end int64 }

// A hole counts if it has this size, and only so many holes of a file count: a
// file could have more than there is memory for. This many fit into a tar that
// package archive/tar reads, which takes 1 MiB of numbers.
const (
	leastHole = 1 << 20
	maxHoles  = 30_000
)

// sparse tells of a file of a size and a number of blocks, stat(2), whether it
// has holes of so many bytes at least.
func sparse(size, blocks, least int64) bool { return size-blocks*512 >= least }

// extents gives what is in a file of a size beside holes, in order. A file may
// change meanwhile: what is written to a hole afterwards is not in it.
func extents(ctx context.Context, f *os.File, size int64) ([]extent, error) {
	var list []extent
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		start, err := f.Seek(at, unix.SEEK_DATA)
		if errno(err) == unix.ENXIO {
			break // a hole to its end
		}
		var end int64
		if err == nil {
			end, err = f.Seek(start, unix.SEEK_HOLE)
		}
		if errno(err) == unix.EINVAL { // its file system knows no holes
			start, end, err = at, size, nil
		}
		if err != nil && errno(err) != unix.ENXIO {
			return nil, err
		}
		if err != nil || start >= size || end <= at {
			break // it became shorter
		}
		at = min(end, size)
		if list = add(list, extent{start, at}); len(list) > 2*maxHoles {
			list = fewer(list, maxHoles)
		}
	}
	if last := len(list) - 1; last >= 0 && size-list[last].end < leastHole {
		list[last].end = size
	}
	return fewer(list, maxHoles), nil
}

// add puts an extent at the end of a list. What lies between it and the one
// before, if that is small, becomes part of both.
func add(list []extent, e extent) []extent {
	last := len(list) - 1
	switch {
	case last < 0 && e.start < leastHole:
		e.start = 0
	case last >= 0 && e.start-list[last].end < leastHole:
		list[last].end = e.end
		return list
	}
	return append(list, e)
}

// fewer makes of a list one of no more than so many, by giving up the smallest
// holes.
func fewer(list []extent, most int) []extent {
	if len(list) <= most {
		return list
	}
	var holes []int64
	for i := range list[1:] {
		holes = append(holes, list[i+1].start-list[i].end)
	}
	slices.Sort(holes)
	excess := len(list) - most
	limit := holes[excess-1]
	for excess > 0 && holes[excess-1] == limit {
		excess--
	}
	same := len(list) - most - excess // holes of that very size that go as well
	short := list[:1]
	for _, e := range list[1:] {
		last := &short[len(short)-1]
		hole := e.start - last.end
		if hole < limit || hole == limit && same > 0 {
			if hole == limit {
				same--
			}
			last.end = e.end
			continue
		}
		short = append(short, e)
	}
	return short
}

// errno is the kernel's part of an error of package os.
func errno(err error) error {
	if p, ok := err.(*os.PathError); ok {
		return p.Err
	}
	return err
}

// fillSparse copies a file's extents, and leaves its holes.
func (m *maker) fillSparse(f, src *os.File, size int64) error {
	list, err := extents(m.ctx, src, size)
	if err != nil {
		return err
	}
	for _, e := range list {
		for _, x := range []*os.File{f, src} {
			if _, err := x.Seek(e.start, io.SeekStart); err != nil {
				return err
			}
		}
		if err := m.copy(f, src, e.end-e.start); err != nil {
			return err
		}
	}
	return f.Truncate(size)
}

// holeWriter writes a file and leaves out the blocks that are all zero.
type holeWriter struct {
	to handle
	at int64
}

// Write implements io.Writer.
func (w *holeWriter) Write(b []byte) (n int, err error) {
	for n < len(b) {
		block := b[n:]
		// Counted from the file's beginning, as its file system counts.
		block = block[:min(int64(len(block)), int64(len(zeros))-w.at%int64(len(zeros)))]
		if !bytes.Equal(block, zeros[:len(block)]) {
			if err := writeAt(w.to, block, w.at); err != nil {
				return n, err
			}
		}
		n += len(block)
		w.at += int64(len(block))
	}
	return n, nil
}

func writeAt(to handle, b []byte, at int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(int(to), b, at)
		if err != nil && err != unix.EINTR {
			return err
		}
		n = max(n, 0)
		b, at = b[n:], at+int64(n)
	}
	return nil
}

var zeros [4096]byte

// union gives what is in one list of extents or the other.
func union(a, b []extent) (all []extent) {
	for len(a) > 0 || len(b) > 0 {
		if len(a) == 0 || len(b) > 0 && b[0].start < a[0].start {
			a, b = b, a
		}
		if last := len(all) - 1; last >= 0 && a[0].start <= all[last].end {
			all[last].end = max(all[last].end, a[0].end)
		} else {
			all = append(all, a[0])
		}
		a = a[1:]
	}
	return all
}
