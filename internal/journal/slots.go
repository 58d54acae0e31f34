package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// A journal's file has two slots, each a block of the disk. A change is written over the
// older of the two, and is there once the disk has it: what a kill or a power cut leaves
// of it has no right sum, and the other slot says what was before. Neither needs room,
// which a full disk would not have, and the disk has less to do than for a new file.
const (
	slots    = 2
	slotSize = 4096
)

// slot is what one of them says.
type slot struct {
	Change uint64 // its number: the last one counts
	Past   Past
}

// encode gives a slot's line: a sum, and what it is of.
func (s slot) encode() ([]byte, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	line := fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(b), b)
	if len(line) > slotSize {
		return nil, fmt.Errorf("a journal's entry of %d bytes is too long", len(line))
	}
	return line, nil
}

// decode reads a slot. One that was never written, or not to its end, is not found.
func decode(b []byte) (s slot, found bool) {
	line, _, ended := bytes.Cut(b, []byte("\n"))
	sum, said, _ := bytes.Cut(line, []byte(" "))
	n, err := strconv.ParseUint(string(sum), 16, 32)
	if !ended || err != nil || uint32(n) != crc32.ChecksumIEEE(said) {
		return slot{}, false
	}
	return s, json.Unmarshal(said, &s) == nil
}

// newestOf finds what counts in a file.
func newestOf(b []byte) (newest slot, found bool) {
	for i := range slots {
		s, ok := decode(b[min(i*slotSize, len(b)):min((i+1)*slotSize, len(b))])
		if ok && (!found || s.Change > newest.Change) {
			newest, found = s, true
		}
	}
	return newest, found
}

// rewrite makes a change of what a file says, which is locked.
func rewrite(f *os.File, change func(*Past)) error {
	b := make([]byte, slots*slotSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	was, _ := newestOf(b)
	now := was
	change(&now.Past)
	if same, err := sameLine(was, now); same || err != nil {
		return err
	}
	now.Change++
	line, err := now.encode()
	if err != nil {
		return err
	}
	if n < len(b) { // both blocks are the file's from now on
		if _, err := f.WriteAt(b, 0); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(line, int64(now.Change%slots)*slotSize); err != nil {
		return err
	}
	return os.NewSyscallError("fdatasync", unix.Fdatasync(int(f.Fd())))
}

func sameLine(a, b slot) (bool, error) {
	x, err := a.encode()
	y, yerr := b.encode()
	return bytes.Equal(x, y), errors.Join(err, yerr)
}
