package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// openFifo opens a fifo. Not through os.OpenFile: it would make the
// description, which a process shares, non-blocking.
func openFifo(path string, flag int) (*os.File, error) {
	fd, err := unix.Open(path, flag|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	if st, err := f.Stat(); err != nil || st.Mode()&os.ModeNamedPipe == 0 {
		f.Close()
		return nil, fmt.Errorf("%s is no fifo: %w", path, errdefs.ErrInvalidArgument)
	}
	return f, nil
}

// openBoth opens a fifo at both ends, which never blocks, and then at the one
// that a process is to have. both is nil for a pipe without a name.
func openBoth(path string, flag int) (both, one *os.File, err error) {
	if both, err = openFifo(path, unix.O_RDWR|unix.O_NONBLOCK); err != nil {
		return nil, nil, err
	}
	one, err = openFifo(path, flag)
	if err != nil || nameless(path) {
		both.Close()
		both = nil
	}
	return both, one, err
}

// nameless tells whether path leads to a pipe(2), which lies in no file system.
func nameless(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Type == unix.PIPEFS_MAGIC
}

// openWritten opens a fifo that a process writes to, when it has a reader.
func openWritten(ctx context.Context, path string, mode int) (both, one *os.File, err error) {
	if !nameless(path) { // what has no name has a reader already
		writer, err := awaitReader(ctx, path)
		if err != nil {
			return nil, nil, err
		}
		defer writer.Close() // when there is another
	}
	return openBoth(path, unix.O_WRONLY|mode)
}

// readerPatience is how long a client may take to open a fifo that it reads.
const readerPatience = 10 * time.Second

// awaitReader waits until a fifo has a reader, and opens it for writing.
//
// A client opens its ends in the background, and on a busy machine that may
// come later than the end of a short process, which does not wait for it: both
// ends are open here. What the process wrote would be lost then, and the
// client's open would wait without end for a writer.
func awaitReader(ctx context.Context, path string) (*os.File, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, readerPatience, fmt.Errorf("nobody reads %s: %w", path, errdefs.ErrFailedPrecondition))
	defer cancel()
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		f, err := openFifo(path, unix.O_WRONLY|unix.O_NONBLOCK)
		if !errors.Is(err, unix.ENXIO) {
			return f, err // not there: the client has given up
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
