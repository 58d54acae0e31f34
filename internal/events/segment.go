package events

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
)

// The log is in segments: files that are called after their first event, with one
// event a line. There are so many at most, of so many bytes; then the oldest goes. The
// newest ends with a zero byte for each event that could not be written to the disk. So
// no later event gets such an event's number, and readers are told that they missed it.
const (
	segments    = 4
	segmentSize = 4 << 20
)

// segment is the file that is written to.
type segment struct {
	file  *os.File // nil: none yet
	size  int64    // of its lines
	lacks bool     // there is more behind them
}

// resume opens the newest segment of a directory, and gives the number of the last
// event. What a kill has left of half a line is cut off before the next line.
func resume(dir string) (*segment, uint64, error) {
	names, err := list(dir)
	if err != nil || len(names) == 0 {
		return &segment{}, 0, err
	}
	newest := names[len(names)-1]
	f, err := os.OpenFile(filepath.Join(dir, newest), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return nil, 0, err
	}
	last, size, lacks, err := tail(f)
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	if last == 0 { // it has none: it is called after the first that was to come
		if _, err := fmt.Sscanf(newest, nameFormat, &last); err == nil {
			last--
		}
	}
	return &segment{f, size, true}, last + lacks, nil
}

// nameFormat has names in the order of their numbers.
const nameFormat = "%020d"

// list gives the segments of a directory, the oldest first.
func list(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, err
}

// longest is more than an event has bytes.
const longest = 64 << 10

// tail gives the number of the last event of a file, the size with it, and how many
// events are lacking behind it.
func tail(f *os.File) (last uint64, size int64, lacks uint64, err error) {
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return 0, 0, 0, err
	}
	from := max(st.Size()-2*longest, 0)
	b := make([]byte, st.Size()-from)
	if _, err := f.ReadAt(b, from); err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, 0, err
	}
	lacks = uint64(len(b) - len(bytes.TrimRight(b, "\x00")))
	if lacks >= longest {
		return 0, 0, 0, fmt.Errorf("%s lacks too many events to count", f.Name())
	}
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	if len(b) == 0 && from == 0 {
		return 0, 0, lacks, nil
	}
	line := b[bytes.LastIndexByte(bytes.TrimSuffix(b, []byte("\n")), '\n')+1:]
	var e Event
	if err := json.Unmarshal(line, &e); err != nil {
		return 0, 0, 0, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return e.Number, from + int64(len(b)), lacks, nil
}

// add writes an event at the end.
func (s *segment) add(dir string, e Event) error {
	if s.file == nil || s.size >= segmentSize {
		if err := s.next(dir, e.Number); err != nil {
			return err
		}
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if s.lacks {
		if err := s.file.Truncate(s.size); err != nil {
			return err
		}
		s.lacks = false
	}
	n, err := s.file.Write(append(line, '\n'))
	if err != nil {
		s.lacks = true // a part of the line, if nothing else
		return err
	}
	s.size += int64(n)
	return nil
}

// lack notes how many events are missing at the end. To make a file longer takes no room
// on the disk.
func (s *segment) lack(events uint64) {
	if s.file == nil {
		return
	}
	s.lacks = true
	if s.file.Truncate(s.size) == nil {
		_ = s.file.Truncate(s.size + int64(min(events, longest))) // an error: it may be noted at the next event
	}
}

// next begins the next segment.
func (s *segment) next(dir string, number uint64) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	names, err := list(dir)
	if err != nil {
		return err
	}
	for len(names) >= segments {
		if err := os.Remove(filepath.Join(dir, names[0])); err != nil {
			return err
		}
		names = names[1:]
	}
	f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf(nameFormat, number)), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	err = s.close()
	s.file, s.size, s.lacks = f, 0, false
	return err
}

func (s *segment) close() error {
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	return f.Close()
}

// read gives the events of the files from a number on. Those of a file that is
// removed meanwhile may be left out.
func read(dir string, next uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		names, err := list(dir)
		if err != nil {
			yield(Event{}, err)
			return
		}
		for i, name := range names {
			if i+1 < len(names) && names[i+1] <= fmt.Sprintf(nameFormat, next) {
				continue // the next file begins where it is to be read, or before
			}
			if !readFile(filepath.Join(dir, name), next, yield) {
				return
			}
		}
	}
}

func readFile(path string, next uint64, yield func(Event, error) bool) bool {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		return yield(Event{}, err)
	}
	defer f.Close()
	for r := bufio.NewReaderSize(f, longest); ; {
		line, err := r.ReadBytes('\n')
		if err != nil { // what has no end is being written
			return errors.Is(err, io.EOF) || yield(Event{}, err)
		}
		var e Event
		if numberOf(line) < next || json.Unmarshal(line, &e) != nil {
			continue // read already, or what the disk has not kept
		}
		if !yield(e, nil) {
			return false
		}
	}
}

// numberOf is the number of an event in a line, which is the first in it; 0: there is
// none. Most lines are read for it only.
func numberOf(line []byte) (n uint64) {
	digits, _ := bytes.CutPrefix(line, []byte(`{"Number":`))
	for _, d := range digits {
		if d < '0' || d > '9' {
			break
		}
		n = 10*n + uint64(d-'0')
	}
	return n
}
