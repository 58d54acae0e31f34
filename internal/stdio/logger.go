package stdio

import (
	"context"
	"io"
	"os"

	"github.com/containerd/containerd/v2/core/runtime/v2/logging"
	"github.com/containerd/containerd/v2/pkg/cio"
)

// loggerArg marks an execution of the program as the logger of a detached
// container: the process that keeps its log when the program is gone.
const loggerArg = "ctor-log-v1"

// The container's shim starts the logger, with the log's path, and hands it
// the container's output. As with the shim, no line in the program's main is
// needed for it.
func init() {
	if len(os.Args) != 3 || os.Args[1] != loggerArg {
		return
	}
	logging.Run(func(_ context.Context, c *logging.Config, ready func() error) error {
		log, err := Create(os.Args[2])
		if err != nil {
			return err
		}
		if err := ready(); err != nil {
			return err
		}
		var f Fifos
		f.copy(log, Stdout, nil, io.NopCloser(c.Stdout))
		f.copy(log, Stderr, nil, io.NopCloser(c.Stderr))
		f.Wait()
		return log.End()
	})
	os.Exit(0)
}

// Logger has the shim start program as a logger that writes to path. For the
// engine's own shim program is /proc/self/exe: it is the program.
func Logger(program, path string, tty bool) cio.Creator {
	if tty {
		return cio.TerminalBinaryIO(program, map[string]string{loggerArg: path})
	}
	return cio.BinaryIO(program, map[string]string{loggerArg: path})
}
