package registrytest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
)

// memoryDriver is what distribution knows [memory] by.
const memoryDriver = "ctor-registrytest-memory"

func init() { factory.Register(memoryDriver, memories{}) }

type memories struct{}

func (memories) Create(context.Context, map[string]any) (driver.StorageDriver, error) {
	return &memory{root: node{made: time.Now()}}, nil
}

// memory is a registry's files in memory. distribution has such a driver too,
// which mixes up paths in which a name comes twice: a tag "index", or the
// repository nginx/nginx.
type memory struct {
	mu   sync.RWMutex
	root node
}

// node is a file or, where children is not nil, a directory.
type node struct {
	children map[string]*node
	content  []byte // only appended to: readers have a part of it
	made     time.Time
}

func names(p string) []string {
	return strings.FieldsFunc(p, func(c rune) bool { return c == '/' })
}

func invalid(p string) error { return driver.InvalidPathError{Path: p, DriverName: memoryDriver} }

// find returns what is at a path.
func (m *memory) find(p string) (*node, error) {
	if p != "/" && !driver.PathRegexp.MatchString(p) {
		return nil, invalid(p)
	}
	n := &m.root
	for _, name := range names(p) {
		if n = n.children[name]; n == nil {
			return nil, driver.PathNotFoundError{Path: p, DriverName: memoryDriver}
		}
	}
	return n, nil
}

func (m *memory) file(p string) (*node, error) {
	if p == "/" {
		return nil, invalid(p)
	}
	n, err := m.find(p)
	if err == nil && n.children != nil {
		err = driver.PathNotFoundError{Path: p, DriverName: memoryDriver}
	}
	return n, err
}

// put makes n what is at a path, and the directories above it.
func (m *memory) put(p string, n *node) error {
	if !driver.PathRegexp.MatchString(p) {
		return invalid(p)
	}
	dir := &m.root
	for _, name := range names(path.Dir(p)) {
		if dir.children == nil {
			dir.children = map[string]*node{}
		}
		if dir.children[name] == nil {
			dir.children[name] = &node{made: time.Now(), children: map[string]*node{}}
		}
		if dir = dir.children[name]; dir.children == nil {
			return invalid(p) // below a file
		}
	}
	if dir.children == nil {
		dir.children = map[string]*node{}
	}
	dir.children[path.Base(p)] = n
	return nil
}

func (m *memory) remove(p string) error {
	if _, err := m.find(p); err != nil {
		return err
	}
	dir, err := m.find(path.Dir(p))
	if err != nil {
		return err
	}
	delete(dir.children, path.Base(p))
	return nil
}

// Name implements driver.StorageDriver.
func (m *memory) Name() string { return memoryDriver }

// GetContent implements driver.StorageDriver.
func (m *memory) GetContent(_ context.Context, p string) ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.file(p)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(n.content), nil
}

// PutContent implements driver.StorageDriver.
func (m *memory) PutContent(_ context.Context, p string, content []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.put(p, &node{content: bytes.Clone(content), made: time.Now()})
}

// Reader implements driver.StorageDriver.
func (m *memory) Reader(_ context.Context, p string, offset int64) (io.ReadCloser, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.file(p)
	if err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, driver.InvalidOffsetError{Path: p, Offset: offset, DriverName: memoryDriver}
	}
	return io.NopCloser(bytes.NewReader(n.content[min(offset, int64(len(n.content))):])), nil
}

// Writer implements driver.StorageDriver.
func (m *memory) Writer(_ context.Context, p string, appendTo bool) (driver.FileWriter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if appendTo {
		n, err := m.file(p)
		return &memoryWriter{m: m, path: p, n: n}, err
	}
	n := &node{made: time.Now()}
	return &memoryWriter{m: m, path: p, n: n}, m.put(p, n)
}

// Stat implements driver.StorageDriver.
func (m *memory) Stat(_ context.Context, p string) (driver.FileInfo, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.find(p)
	if err != nil {
		return nil, err
	}
	return driver.FileInfoInternal{FileInfoFields: driver.FileInfoFields{
		Path: p, Size: int64(len(n.content)), ModTime: n.made, IsDir: n.children != nil,
	}}, nil
}

// List implements driver.StorageDriver.
func (m *memory) List(_ context.Context, p string) ([]string, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.find(p)
	if err != nil {
		return nil, err
	}
	var list []string
	for name := range n.children {
		list = append(list, path.Join(p, name))
	}
	return list, nil
}

// Move implements driver.StorageDriver.
func (m *memory) Move(_ context.Context, from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(from)
	if err != nil {
		return err
	}
	if err := m.remove(from); err != nil {
		return err
	}
	return m.put(to, n)
}

// Delete implements driver.StorageDriver.
func (m *memory) Delete(_ context.Context, p string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.remove(p)
}

// RedirectURL implements driver.StorageDriver.
func (m *memory) RedirectURL(*http.Request, string) (string, error) { return "", nil }

// Walk implements driver.StorageDriver.
func (m *memory) Walk(ctx context.Context, p string, f driver.WalkFn, options ...func(*driver.WalkOptions)) error {
	return driver.WalkFallback(ctx, m, p, f, options...)
}

// memoryWriter adds to a file. What it has written is there at once, since
// another may go on where this one is closed.
type memoryWriter struct {
	m    *memory
	path string
	n    *node
	done bool
}

var errDone = errors.New("write after the end")

// Write implements driver.FileWriter.
func (w *memoryWriter) Write(b []byte) (int, error) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if w.done {
		return 0, errDone
	}
	w.n.content = append(w.n.content, b...)
	return len(b), nil
}

// Size implements driver.FileWriter.
func (w *memoryWriter) Size() int64 {
	w.m.mu.RLock()
	defer w.m.mu.RUnlock()
	return int64(len(w.n.content))
}

// Close implements driver.FileWriter.
func (w *memoryWriter) Close() error { return w.end() }

// Commit implements driver.FileWriter.
func (w *memoryWriter) Commit(context.Context) error { return w.end() }

func (w *memoryWriter) end() error {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	w.done = true
	return nil
}

// Cancel implements driver.FileWriter.
func (w *memoryWriter) Cancel(context.Context) error {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	w.done = true
	if n, err := w.m.find(w.path); err != nil || n != w.n {
		return nil
	}
	return w.m.remove(w.path)
}
