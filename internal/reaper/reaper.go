// Package reaper has a small program that comes with the library as bytes: the first
// process of a container whose command is not made to be one.
package reaper

import (
	"fmt"
	"runtime"

	"github.com/containerd/errdefs"
)

// Program is a static executable. It executes its arguments as a command, with a
// process group of its own, and the terminal if there is one; passes on every signal
// to it; waits for every process that its parent has left; and ends with it, with the
// same exit code, or 128+n where signal n has ended it. A command that can't be
// executed is exit code 126, and one that is not there 127, as in a shell.
func Program() ([]byte, error) {
	if program == nil {
		return nil, fmt.Errorf("there is no init for %s: %w", runtime.GOARCH, errdefs.ErrUnavailable)
	}
	return program, nil
}
