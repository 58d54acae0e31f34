package cgroup

import (
	"cmp"
	"fmt"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Meter reads a cgroup's counters again and again. It holds the kernel's files open,
// a dozen at most: to open one costs several times what it costs to read it. One
// goroutine at a time may use it.
type Meter struct {
	group Group
	files map[file]int // descriptors; -1: this host has no such file
	buf   []byte
	found bool // a file was read
}

// file is one of a controller's.
type file struct{ controller, name string }

// usual is more than most files have: those that tell of each disk or processor may
// have any number of lines.
const usual = 16 << 10

// Meter makes one for this cgroup, which has to be closed.
func (g Group) Meter() *Meter {
	return &Meter{group: g, files: map[file]int{}, buf: make([]byte, usual)}
}

var errNone = fmt.Errorf("the container has no cgroup: %w", errdefs.ErrNotFound)

// Read reads the counters. A cgroup that is gone is errdefs.ErrNotFound.
func (m *Meter) Read() (Counters, error) {
	m.found = false
	c := count(m.read, unified())
	if !m.found {
		return Counters{}, cmp.Or(Absent(), errNone)
	}
	return c, nil
}

// Close closes the files.
func (m *Meter) Close() {
	for f, fd := range m.files {
		if fd >= 0 {
			unix.Close(fd)
		}
		delete(m.files, f)
	}
}

// Count reads the counters once.
func (g Group) Count() (Counters, error) {
	m := g.Meter()
	defer m.Close()
	return m.Read()
}

// read gives a file's content until the next read; nil is that it is not there.
func (m *Meter) read(f file) []byte {
	fd, known := m.files[f]
	if !known {
		fd = m.open(f)
		m.files[f] = fd
	}
	if fd < 0 {
		return nil
	}
	size := 0
	for {
		if size == len(m.buf) {
			m.buf = append(m.buf, make([]byte, size)...)
		}
		n, err := unix.Pread(fd, m.buf[size:], int64(size))
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			break
		}
		size += n
	}
	m.found = m.found || size > 0
	return m.buf[:size]
}

func (m *Meter) open(f file) int {
	dir := m.group.Dir(f.controller)
	if dir == "" {
		return -1
	}
	fd, err := unix.Open(dir+"/"+f.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}
