package logfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// extent is what there is of a log at a moment: its files, oldest first.
type extent []part

type part struct {
	n    int // the file's number
	size int64
}

// list gives the numbers of a log's files.
func list(path string) ([]int, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	var all []int
	for _, e := range entries {
		suffix, ok := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		if n, err := strconv.Atoi(suffix); ok && err == nil && n > 0 {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}

// measure takes a log's extent, which has a file at least, or the error is
// fs.ErrNotExist.
func measure(path string) (extent, error) {
	for {
		all, err := list(path)
		if err != nil {
			return nil, err
		}
		if len(all) == 0 {
			return nil, &os.PathError{Op: "open log", Path: path, Err: fs.ErrNotExist}
		}
		var x extent
		for _, n := range all {
			st, err := os.Stat(file(path, n))
			if errors.Is(err, fs.ErrNotExist) {
				continue // it was the oldest
			}
			if err != nil {
				return nil, err
			}
			x = append(x, part{n, st.Size()})
		}
		if len(x) > 0 {
			return x, nil
		}
	}
}

func (x extent) last() part { return x[len(x)-1] }

// block is a part of a file that begins with a frame.
type block struct {
	n          int // the file's number
	begin, end int64
}

// blocks is how many there are. An empty file has one.
func (p part) blocks() int { return max(1, int((p.size+blockSize-1)/blockSize)) }

func (x extent) blocks() (n int) {
	for _, p := range x {
		n += p.blocks()
	}
	return n
}

func (x extent) block(i int) block {
	for _, p := range x {
		if i < p.blocks() {
			begin := int64(i) * blockSize
			return block{p.n, begin, min(begin+blockSize, p.size)}
		}
		i -= p.blocks()
	}
	panic("block beyond the end")
}
