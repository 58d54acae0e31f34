package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/logfile"
)

// ErrLogGap is the class of a Read that finds output of a log missing.
var ErrLogGap = fmt.Errorf("%w: %w", logfile.ErrGap, errdefs.ErrUnavailable)

// ReadLog reads the log of a container, until ctx ends, or the engine. ended is asked, by
// a reader that follows, for what is closed when the log will get no more; gap stands for
// output that is missing, "" being ErrLogGap. No log is errdefs.ErrNotFound.
func (e *Engine) ReadLog(ctx context.Context, o Output, of logfile.Options, ended func(context.Context) func() <-chan struct{}, gap string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(e.Context(ctx))
	stop := context.AfterFunc(e.life, func() { cancel(ErrClosed) })
	end := func() {
		stop()
		cancel(nil)
	}
	if of.Follow {
		of.Ended = ended(ctx)
	}
	r, err := e.Backend.Logs(ctx, o, of)
	if err != nil {
		end()
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("there are none: %w", errdefs.ErrNotFound)
		}
		return nil, err
	}
	if gap != "" {
		r = logfile.Fill(r, gap)
	}
	return &logReader{r, e.life, end}, nil
}

// logReader is a reader that ends with the engine.
type logReader struct {
	io.ReadCloser
	engine context.Context
	end    func()
}

// Read implements io.Reader.
func (l *logReader) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	switch {
	case (err == io.EOF || errors.Is(err, logfile.ErrDeleted)) && l.engine.Err() != nil:
		// The engine's end ends the container, or the watch over it, and that
		// may come here before it ends ctx.
		err = ErrClosed
	case errors.Is(err, logfile.ErrGap):
		err = ErrLogGap
	case errors.Is(err, logfile.ErrDeleted):
		err = fmt.Errorf("%w: %w", err, errdefs.ErrNotFound)
	}
	return n, err
}

// Close implements io.Closer.
func (l *logReader) Close() error {
	err := l.ReadCloser.Close()
	l.end()
	return err
}
