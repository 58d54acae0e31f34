package stdio

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/containerd/fifo"
)

// fifos are in a directory.
type fifos struct {
	dir    string
	life   context.Context
	cancel context.CancelFunc
	paths  []string
}

func newFifos(dir string) *fifos {
	f := &fifos{dir: dir}
	f.life, f.cancel = context.WithCancel(context.Background())
	return f
}

func (f *fifos) open(name string, input bool) (io.ReadWriteCloser, string, error) {
	flag := syscall.O_RDONLY
	if input {
		flag = syscall.O_WRONLY
	}
	path := filepath.Join(f.dir, name)
	f.paths = append(f.paths, path)
	p, err := fifo.OpenFifo(f.life, path, flag|syscall.O_CREAT|syscall.O_NONBLOCK, 0o600)
	return p, path, err
}

// given does nothing: a fifo is opened by its name, at any time.
func (f *fifos) given() {}

func (f *fifos) close() error {
	f.cancel()
	var errs []error
	for _, p := range f.paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
