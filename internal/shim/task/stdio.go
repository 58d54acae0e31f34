package task

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/link"
)

// streams are the ends of a process's standard streams on this side.
//
// A fifo is handed to the process itself: no byte passes through the shim. The shim
// keeps both ends of it open as long as the process lives: when its reader goes away
// the process blocks, and is not killed, a reader that comes back finds the rest, and
// the input does not end before CloseIO. A pipe
// without a name, given as a path in /proc, is not kept: no reader can come back to
// it, so it ends when the client's end does.
type streams struct {
	in     *os.File   // keeps the input from ending; nil: nothing does
	keep   []*os.File // the same for the output
	log    *log       // nil: the shim writes none
	logger *logger    // nil: none was started
	tty    *terminal  // nil: it has none
}

// paths name where a process's streams go: fifos, or URIs for output.
type paths struct {
	in, out, err string
	terminal     bool
}

// open opens the streams and gives what the process is to have of them.
func (p paths) open(ctx context.Context, ns, id string) (_ *streams, child Stdio, err error) {
	s := &streams{}
	child.Terminal = p.terminal
	defer func() {
		if err != nil {
			child.close()
			s.close()
			child = Stdio{}
		}
	}()
	// The shim itself copies to and from a terminal, through Go's poller.
	mode := 0
	if p.terminal {
		mode = unix.O_NONBLOCK
	}
	if p.in != "" {
		if s.in, child.In, err = openBoth(p.in, unix.O_RDONLY|mode); err != nil {
			return nil, child, fmt.Errorf("stdin: %w", err)
		}
	}
	switch scheme, _, _ := strings.Cut(p.out, ":"); scheme {
	case link.LogScheme:
		if s.log, child.Out, child.Err, err = openLog(p.out, p.terminal); err != nil {
			return nil, child, fmt.Errorf("log: %w", err)
		}
	case "binary":
		if s.logger, child.Out, child.Err, err = startLogger(ctx, p.out, ns, id); err != nil {
			return nil, child, fmt.Errorf("logger: %w", err)
		}
	default:
		if child.Out, err = s.openOut(ctx, p.out, mode); err != nil {
			return nil, child, fmt.Errorf("stdout: %w", err)
		}
		// With a terminal clients name a fifo that they don't make: there is but
		// one output.
		if !p.terminal {
			if child.Err, err = s.openOut(ctx, p.err, mode); err != nil {
				return nil, child, fmt.Errorf("stderr: %w", err)
			}
		}
	}
	if p.terminal {
		s.tty = newTerminal(child.In, child.Out, s.log)
		if child.Err != nil {
			child.Err.Close()
		}
		child.In, child.Out, child.Err = nil, nil, nil
	}
	return s, child, nil
}

func (s *streams) openOut(ctx context.Context, path string, mode int) (*os.File, error) {
	if path == "" {
		return nil, nil
	}
	u := &url.URL{}
	if !filepath.IsAbs(path) {
		var err error
		if u, err = url.Parse(path); err != nil {
			return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
		}
	}
	switch u.Scheme {
	case "file":
		if err := os.MkdirAll(filepath.Dir(u.Path), 0o755); err != nil {
			return nil, err
		}
		return os.OpenFile(u.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	case "", "fifo":
		keep, f, err := openWritten(ctx, strings.TrimPrefix(path, "fifo://"), mode)
		if keep != nil {
			s.keep = append(s.keep, keep)
		}
		return f, err
	}
	return nil, fmt.Errorf("%s is neither a path nor a fifo, file or binary URI: %w", path, errdefs.ErrInvalidArgument)
}

// attach begins to copy between a terminal and its fifos.
func (s *streams) attach(console *os.File) {
	if s.tty != nil && console != nil {
		s.tty.attach(console)
	}
}

// begin is called when the process was started.
func (s *streams) begin() {
	if s.log != nil {
		s.log.begin()
	}
}

// resize sets the terminal's size.
func (s *streams) resize(width, height uint32) error {
	if s.tty == nil {
		return fmt.Errorf("the process has no terminal: %w", errdefs.ErrInvalidArgument)
	}
	return s.tty.resize(width, height)
}

// closeIn lets the input end, once its writer has closed it too.
func (s *streams) closeIn() {
	if s.in != nil {
		s.in.Close()
	}
}

// finish is called when the process has ended: readers see the end, of a
// terminal when they have read the rest. It waits for the shim's own log
// alone.
func (s *streams) finish() {
	if s.log != nil || s.tty == nil {
		s.close()
		return
	}
	go func() {
		s.tty.copies.Wait()
		s.close()
	}()
}

// settle is called after finish, when the process is deleted: what is not
// read by then is given up.
func (s *streams) settle() {
	if s != nil && s.tty != nil {
		s.tty.hurry()
		s.tty.copies.Wait()
	}
}

// close lets go of everything; readers see the end.
func (s *streams) close() {
	if s.log != nil {
		s.log.finish()
	}
	for _, f := range append([]*os.File{s.in}, s.keep...) {
		if f != nil {
			f.Close()
		}
	}
	if s.tty != nil {
		s.tty.close()
	}
	if s.logger != nil {
		s.logger.close()
	}
}

func (c Stdio) close() {
	for _, f := range []*os.File{c.In, c.Out, c.Err} {
		if f != nil {
			f.Close()
		}
	}
}
