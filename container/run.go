package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"

	"github.com/ctorhq/ctor/internal/stdio"
	"github.com/ctorhq/ctor/internal/unwind"
)

// run is what this program does for an attached container: it copies the
// streams and waits for the end.
type run struct {
	streams *stdio.Fifos
	done    chan struct{} // after the last byte of output
	status  containerd.ExitStatus
	err     error // of the copies
}

func (c *Container) logPath() string { return filepath.Join(c.e.Dir(c.ID()), "log") }

// create has the runtime create the first process.
func (c *Container) create(ctx context.Context, cfg Config, dir string, undo *unwind.Stack) error {
	loaded, err := c.e.Client.LoadContainer(ctx, c.ID())
	if err != nil {
		return err
	}
	if cfg.Detach {
		logger := "/proc/self/exe"
		if !c.e.Embedded {
			if logger, err = os.Executable(); err != nil {
				return err
			}
		}
		// The log is there from the start, for a Logs that comes early.
		if err := os.WriteFile(c.logPath(), nil, 0o600); err != nil {
			return err
		}
		c.task, err = loaded.NewTask(ctx, stdio.Logger(logger, c.logPath(), cfg.TTY))
		return err
	}
	log, err := stdio.Create(c.logPath())
	if err != nil {
		return err
	}
	streams, err := stdio.Connect(dir, stdio.Streams{In: cfg.Stdin, Out: cfg.Stdout, Err: cfg.Stderr, TTY: cfg.TTY}, log)
	if err != nil {
		log.End()
		return err
	}
	undo.Push(func() error { streams.Close(); return log.End() })
	c.task, err = loaded.NewTask(ctx, func(string) (cio.IO, error) { return streams, nil })
	if err != nil {
		return err
	}
	life := c.e.Context(context.Background())
	undo.Push(func() error {
		ctx, cancel := c.e.Cleanup(ctx)
		defer cancel()
		_, err := c.task.Delete(ctx, containerd.WithProcessKill)
		return err
	})
	ended, err := c.task.Wait(life)
	if err != nil {
		return err
	}
	if err := c.e.Attach(c.ID(), c); err != nil {
		return err
	}
	c.run = &run{streams: streams, done: make(chan struct{})}
	go func() {
		defer close(c.run.done)
		c.run.status = <-ended
		if c.run.status.Error() != nil {
			streams.Cancel() // the shim is gone: nobody ends the streams
		}
		streams.Wait()
		c.run.err = streams.Err()
		if err := log.End(); err != nil && c.run.err == nil {
			c.run.err = fmt.Errorf("log: %w", err)
		}
	}()
	return nil
}
