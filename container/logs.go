package container

import (
	"context"
	"io"
	"time"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/logfile"
)

// LogOptions choose what Logs gives. The zero value, as nil, is all there is
// now.
type LogOptions struct {
	// Follow waits for more until the container has ended. false is what
	// there is at the call.
	Follow bool

	// Restarts has Follow wait on when the container has ended: it may be
	// started again. Then the container's Close or Remove is the end.
	Restarts bool

	// Current leaves out what came before the last Start, and what comes after
	// the next one. The zero value is all lives.
	Current bool

	// Since leaves out what came before this time. What is left may begin
	// within a line. The zero value is the beginning.
	Since time.Time

	// Tail is how many lines are given of what there is at the call, the last
	// ones; with Follow all that comes later is given as well. A last line need
	// not be ended. 0 means all; -1 means none, which makes sense with Follow.
	Tail int

	// Stdout and Stderr choose streams. Neither means both. A container with a
	// TTY has only the first.
	Stdout, Stderr bool

	// Timestamps puts before each line when its first byte came, in UTC:
	// RFC 3339 with all nine digits of the second, and a space, as Docker has
	// it.
	Timestamps bool

	// Gap is a line that is given where output is missing, without its end and
	// without a time. "" is an error there, ErrLogGap, with which a bufio.Scanner
	// and io.Copy end.
	Gap string
}

// ErrLogGap is the class of a Read of Logs that finds output missing: the
// container has written more than Config.LogLimit since the reader read last,
// or its output could not be written, as on a full disk. It is no end: the next
// Read goes on with what comes after the gap. What takes any error for an end,
// as bufio.Scanner does, wants LogOptions.Gap. It is ctor.ErrUnavailable too.
var ErrLogGap = engine.ErrLogGap

// Logs gives the container's output, both streams in the order they came in,
// byte for byte. It is kept on disk until the container is closed, the last
// Config.LogLimit bytes of it; what was dropped before the call is left out
// without a word. Where streams that are not ended by lines mix, so do they
// here, and lines are those of the mixture. o may be nil.
//
// With Follow a Read waits for more. It ends with io.EOF after the last byte
// that the container wrote, or that was in the log when Close gave up on a
// slow writer of the program's. When the container has been started again, further
// Reads give the next life's output: no follower misses a life, and one that is
// behind gets them all without an io.EOF in between. A reader that is slower than
// the container loses nothing as long as it is less than three quarters of the
// limit behind; then one Read gives ErrLogGap, or LogOptions.Gap where that is
// set. A reader may keep a quarter of the limit more on disk. When the container
// is closed before all is read, the error is ctor.ErrNotFound.
//
// Reading ends with ctx's error when ctx ends, and with ctor.ErrClosed when the
// engine does. The caller closes the reader. That may happen during a Read, which
// then gives os.ErrClosed, as any later one.
func (c *Container) Logs(ctx context.Context, o *LogOptions) (io.ReadCloser, error) {
	if o == nil {
		o = &LogOptions{}
	}
	_, leave, err := c.enter(ctx)
	if err != nil {
		return nil, c.wrap("logs of", err)
	}
	defer leave()
	of := logfile.Options{
		Stdout: o.Stdout || !o.Stderr, Stderr: o.Stderr || !o.Stdout,
		Since: o.Since, Tail: o.Tail, Timestamps: o.Timestamps, Follow: o.Follow,
		Once: o.Current, Through: o.Follow && o.Restarts && !o.Current,
	}
	if started := c.life().Started(); o.Current && started.After(of.Since) {
		of.Since = started
	}
	ended := func(ctx context.Context) func() <-chan struct{} {
		if of.Through {
			return c.closed.Done
		}
		return life.Complete(ctx, c.life)
	}
	r, err := c.e.ReadLog(ctx, c.output(), of, ended, o.Gap)
	return r, c.wrap("logs of", err)
}
