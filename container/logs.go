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
	// Follow waits for more until the container has ended.
	Follow bool
}

// Logs gives the container's output, both streams in the order they came in,
// byte for byte, until the container is closed. With Follow a Read waits for
// more; it ends with io.EOF after the last byte, or with the error of ctx. The
// caller closes the reader.
func (c *Container) Logs(ctx context.Context, o *LogOptions) (io.ReadCloser, error) {
	if o == nil {
		o = &LogOptions{}
	}
	if _, leave, err := c.enter(ctx); err != nil {
		return nil, c.wrap("logs of", err)
	} else {
		leave()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.e.Life(), func() { cancel(engine.ErrClosed) })
	r, err := stdio.Open(ctx, c.logPath(), o.Follow, c.ended(ctx))
	if err != nil {
		stop()
		cancel(nil)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("there are none: %w", errdefs.ErrNotFound)
		}
		return nil, c.wrap("logs of", err)
	}
	return &logs{Reader: r, stop: func() { stop(); cancel(nil) }}, nil
}

// ended is closed when the container has ended and its log is complete. For a
// detached one it is the log that tells, unless its process is gone already.
func (c *Container) ended(ctx context.Context) <-chan struct{} {
	if c.run != nil {
		return c.run.done
	}
	if i, err := c.Info(ctx); err == nil && i.State == Exited {
		done := make(chan struct{})
		close(done)
		return done
	}
	return nil
}

type logs struct {
	*stdio.Reader
	stop func()
}

func (l *logs) Close() error {
	l.stop()
	return l.Reader.Close()
}
