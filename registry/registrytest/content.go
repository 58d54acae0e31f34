package registrytest

import (
	"bytes"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/ctorhq/ctor/internal/distribution"
)

// content is what is kept by its digest. The store's lock guards all but begin,
// and what that gives until it is kept.
type content interface {
	open(d digest.Digest) (distribution.Blob, error)
	remove(d digest.Digest) error
	begin() (draft, error)
}

// draft is content that is being written.
type draft interface {
	io.WriteCloser
	Size() int64
	Restart() error
	is(d digest.Digest) (bool, error) // needs no lock
	keep(d digest.Digest) error
}

// memory keeps content in memory.
type memory map[digest.Digest][]byte

func newMemory() memory { return memory{} }

func (m memory) open(d digest.Digest) (distribution.Blob, error) {
	b, ok := m[d]
	if !ok {
		return nil, notFound(d)
	}
	return slice{bytes.NewReader(b)}, nil
}

func (m memory) remove(d digest.Digest) error {
	delete(m, d)
	return nil
}

func (m memory) begin() (draft, error) { return &memoryDraft{all: m}, nil }

type slice struct{ *bytes.Reader }

func (slice) Close() error { return nil }

type memoryDraft struct {
	bytes.Buffer
	all memory
}

func (w *memoryDraft) Size() int64 { return int64(w.Len()) }

func (w *memoryDraft) Restart() error {
	w.Reset()
	return nil
}

func (w *memoryDraft) is(d digest.Digest) (bool, error) {
	return d.Algorithm().FromBytes(w.Bytes()) == d, nil
}

func (w *memoryDraft) keep(d digest.Digest) error {
	w.all[d] = w.Bytes()
	return nil
}

func (w *memoryDraft) Close() error { return nil }

// directory keeps content in files.
type directory struct{ root string }

func newDirectory(root string) (*directory, error) {
	d := &directory{root}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(d.drafts()); err != nil { // of a registry that was killed
		return nil, err
	}
	return d, os.MkdirAll(d.drafts(), 0o700)
}

func (d *directory) drafts() string { return filepath.Join(d.root, "uploads") }

func (d *directory) path(of digest.Digest) string {
	return filepath.Join(d.root, "blobs", of.Algorithm().String(), of.Encoded())
}

func (d *directory) open(of digest.Digest) (distribution.Blob, error) {
	f, err := os.Open(d.path(of))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return file{f, info.Size()}, nil
}

func (d *directory) remove(of digest.Digest) error { return os.Remove(d.path(of)) }

func (d *directory) begin() (draft, error) {
	f, err := os.CreateTemp(d.drafts(), "")
	return &fileDraft{file: file{File: f}, all: d}, err
}

type file struct {
	*os.File
	size int64
}

func (f file) Size() int64 { return f.size }

type fileDraft struct {
	file
	all    *directory
	closed bool
}

func (w *fileDraft) Write(p []byte) (int, error) {
	n, err := w.File.Write(p)
	w.size += int64(n)
	return n, err
}

func (w *fileDraft) Restart() error {
	w.size = 0
	if err := w.Truncate(0); err != nil {
		return err
	}
	_, err := w.Seek(0, io.SeekStart)
	return err
}

func (w *fileDraft) is(d digest.Digest) (bool, error) {
	if _, err := w.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	v := d.Verifier()
	_, err := io.Copy(v, w.File)
	return v.Verified(), err
}

func (w *fileDraft) keep(d digest.Digest) error {
	to := w.all.path(d)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return os.Rename(w.Name(), to)
}

// Close is what removes the file, unless it is kept.
func (w *fileDraft) Close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	err := w.File.Close()
	if rerr := os.Remove(w.Name()); err == nil && !os.IsNotExist(rerr) {
		err = rerr
	}
	return err
}
