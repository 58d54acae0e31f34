package logfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"sort"
)

// position is a place to begin to read at.
type position struct {
	n      int   // the file's number
	offset int64 // of a frame
	skip   int   // bytes of its content
}

// search finds places in a log. What has been dropped since its extent was
// taken counts as too old to matter.
type search struct {
	path string
	extent
	want func(frame) bool // whether it is part of what is looked through

	n int // the number of the file that is open
	f *os.File
	r frames
}

func (s *search) close() {
	if s.f != nil {
		s.f.Close()
	}
}

// enter begins to read a block. An error that is fs.ErrNotExist means that it
// has been dropped.
func (s *search) enter(b block) error {
	if s.f == nil || s.n != b.n {
		s.close()
		s.f = nil
		f, err := os.Open(file(s.path, b.n))
		if err != nil {
			return err
		}
		s.f, s.n = f, b.n
	}
	s.r.read(s.f, b.begin, b.end)
	return nil
}

// each calls f for the frames of a block, until it returns false.
func (s *search) each(b block, f func(frame) bool) error {
	if err := s.enter(b); err != nil {
		return err
	}
	for {
		fr, err := s.r.next()
		if errors.Is(err, errShort) || err == nil && !f(fr) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// since finds the block that has the first frame of a time or later, or the one
// before. It reads the beginnings of a few.
func (s *search) since(time int64) (int, error) {
	var failed error
	i := sort.Search(s.blocks(), func(i int) bool {
		late := true // one without a whole frame is the last
		err := s.each(s.block(i), func(fr frame) bool {
			late = fr.time >= time
			return false
		})
		if errors.Is(err, fs.ErrNotExist) {
			return false
		}
		failed = errors.Join(failed, err)
		return late
	})
	return max(0, i-1), failed
}

// tail finds where the last lines begin, but nothing before a block. It reads
// blocks from the last one back until it has them. A negative number counts as 0:
// it finds the end.
func (s *search) tail(lines, first int) (position, error) {
	last := s.blocks() - 1
	if lines < 0 {
		return s.ending(s.block(last))
	}
	var at position
	for i, seen := last, false; i >= first; i-- {
		b := s.block(i)
		newlines, final, err := s.count(b)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return at, err
		}
		if len(final) > 0 && !seen {
			seen = true
			if final[0] == '\n' { // it ends the last line, and begins none
				lines++
			}
		}
		if newlines >= lines && seen {
			return s.after(b, newlines-lines+1)
		}
		lines -= newlines
		at = position{n: b.n, offset: b.begin}
	}
	return at, nil
}

// count gives the number of newlines in a block, and its last byte if it has
// any.
func (s *search) count(b block) (newlines int, last []byte, err error) {
	err = s.each(b, func(fr frame) bool {
		if n := len(fr.data); n > 0 && s.want(fr) {
			newlines += bytes.Count(fr.data, []byte{'\n'})
			last = []byte{fr.data[n-1]}
		}
		return true
	})
	return newlines, last, err
}

// after finds what follows a newline of a block: the first is 1.
func (s *search) after(b block, newline int) (position, error) {
	at := position{n: b.n, offset: b.end}
	err := s.each(b, func(fr frame) bool {
		if !s.want(fr) {
			return true
		}
		for skip := 0; ; newline-- {
			i := bytes.IndexByte(fr.data[skip:], '\n')
			if i < 0 {
				return true
			}
			skip += i + 1
			if newline == 1 {
				at.offset, at.skip = fr.offset, skip
				return false
			}
		}
	})
	return at, err
}

// ending finds the end of the output in the last block.
func (s *search) ending(b block) (position, error) {
	at := position{n: b.n, offset: b.begin}
	err := s.each(b, func(fr frame) bool {
		switch fr.stream {
		case next:
			return false
		case end: // a reader wants to know, unless more follows
			at.offset = fr.offset
		default:
			at.offset = fr.offset + headerSize + int64(len(fr.data))
		}
		return true
	})
	return at, err
}
