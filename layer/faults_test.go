package layer_test

import (
	"io/fs"
	"strings"
	"testing/fstest"
)

// The file systems here break a rule each; fromfs_test.go packs them.

// listFS changes what ReadDir returns.
type listFS struct {
	fs.FS
	edit func([]fs.DirEntry) []fs.DirEntry
}

func (f listFS) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := fs.ReadDir(f.FS, name)
	return f.edit(list), err
}

// noLinks hides ReadLink.
type noLinks struct{ fs.FS }

type renamed struct {
	fs.DirEntry
	name string
}

func (d renamed) Name() string { return d.name }

// sizeFS lies about the size of every file, by delta bytes.
type sizeFS struct {
	fstest.MapFS
	delta int64
}

func (f sizeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := f.MapFS.ReadDir(name)
	for i, d := range list {
		list[i] = sizeEntry{d, f.delta}
	}
	return list, err
}

type sizeEntry struct {
	fs.DirEntry
	delta int64
}

func (d sizeEntry) Info() (fs.FileInfo, error) {
	info, err := d.DirEntry.Info()
	return sizeInfo{info, d.delta}, err
}

type sizeInfo struct {
	fs.FileInfo
	delta int64
}

func (i sizeInfo) Size() int64 { return i.FileInfo.Size() + i.delta }

// brokenFS fails at one operation on one file.
type brokenFS struct {
	fs.FS
	op, name string
	err      error
}

func (f brokenFS) Open(name string) (fs.File, error) {
	if f.op == "open" && f.name == name {
		return nil, f.err
	}
	file, err := f.FS.Open(name)
	if f.op == "read" && f.name == name {
		return brokenFile{file, f.err}, err
	}
	return file, err
}

func (f brokenFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if f.op == "readdir" && f.name == name {
		return nil, f.err
	}
	list, err := fs.ReadDir(f.FS, name)
	for i, d := range list {
		if f.op == "info" && strings.HasSuffix(f.name, d.Name()) {
			list[i] = brokenEntry{d, f.err}
		}
	}
	return list, err
}

func (f brokenFS) ReadLink(name string) (string, error) { return "", f.err }

func (f brokenFS) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(f.FS, name) }

type brokenFile struct {
	fs.File
	err error
}

func (f brokenFile) Read([]byte) (int, error) { return 0, f.err }

type brokenEntry struct {
	fs.DirEntry
	err error
}

func (d brokenEntry) Info() (fs.FileInfo, error) { return nil, d.err }

type countFS struct {
	fs.FS
	open int
}

type countFile struct {
	fs.File
	fsys *countFS
}

func (f *countFS) Open(name string) (fs.File, error) {
	file, err := f.FS.Open(name)
	if d, ok := file.(fs.ReadDirFile); ok || err != nil {
		return d, err
	}
	f.open++
	return countFile{file, f}, err
}

func (f countFile) Close() error {
	f.fsys.open--
	return f.File.Close()
}
