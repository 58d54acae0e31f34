package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/stdio"
)

// LogOptions choose what Logs gives. nil is what there is now.
type LogOptions struct {
	// Follow waits for more until the container has ended. false is what
	// there is now.
	Follow bool
}

// Logs gives the container's output from its beginning, both streams in the
// order they came in, byte for byte. It is kept on disk, without a bound, until
// the container is closed. o may be nil.
//
// With Follow a Read waits for more. It ends with io.EOF after the last byte
// that the container wrote, with ctx's error when ctx ends, and with
// ctor.ErrClosed when the engine does. The caller closes the reader, which may
// happen during a Read; that one, and any after it, gives os.ErrClosed.
func (c *Container) Logs(ctx context.Context, o *LogOptions) (io.ReadCloser, error) {
	if o == nil {
		o = &LogOptions{}
	}
	_, leave, err := c.enter(ctx)
	if err != nil {
		return nil, c.wrap("logs of", err)
	}
	defer leave()
	ctx, cancel := context.WithCancelCause(c.e.Context(ctx))
	stop := context.AfterFunc(c.e.Life(), func() { cancel(engine.ErrClosed) })
	l := &logs{end: func() { stop(); cancel(nil) }}
	var ended <-chan struct{}
	if o.Follow {
		ended = c.ended(ctx)
	}
	if l.Reader, err = stdio.Open(ctx, c.logPath(), o.Follow, ended); err != nil {
		l.end()
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("there are none: %w", errdefs.ErrNotFound)
		}
		return nil, c.wrap("logs of", err)
	}
	return l, nil
}

// ended is closed when the container has ended and its log is complete, or
// ctx has ended. The log tells by itself that it is complete, unless the
// process that kept it was killed.
func (c *Container) ended(ctx context.Context) <-chan struct{} {
	if c.run != nil {
		return c.run.done
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = c.waitDetached(ctx)
	}()
	return ended
}

type logs struct {
	*stdio.Reader
	end func()
}

func (l *logs) Close() error {
	err := l.Reader.Close()
	l.end()
	return err
}
