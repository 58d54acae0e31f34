package libcontainer

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"

	"github.com/containerd/errdefs"
	runc "github.com/opencontainers/runc/libcontainer"
)

// explain gives the error of a start a class. It comes from another process,
// as text.
func explain(err error, p *runc.Process) error {
	name := p.Args[0]
	text := err.Error()
	if i := strings.LastIndex(text, fmt.Sprintf("exec: %q: ", name)); i >= 0 {
		switch reason := text[i:]; {
		case strings.Contains(reason, exec.ErrNotFound.Error()):
			return &exec.Error{Name: name, Err: exec.ErrNotFound}
		case strings.Contains(reason, "no such file or directory"):
			return fmt.Errorf("%w: no such file in the container", &exec.Error{Name: name, Err: exec.ErrNotFound})
		case strings.Contains(reason, "permission denied"), strings.Contains(reason, "is a directory"):
			return fmt.Errorf("%w: not an executable file", &exec.Error{Name: name, Err: fs.ErrPermission})
		}
	}
	if strings.Contains(text, "container init was OOM-killed") {
		return fmt.Errorf("out of memory before %q could run: raise the memory limit (libcontainer itself needs about 6 MB): %w", name, err)
	}
	return err
}

// classify gives libcontainer's own errors a class.
func classify(err error) error {
	for _, state := range []error{runc.ErrNotRunning, runc.ErrNotPaused, runc.ErrPaused, runc.ErrRunning} {
		if errors.Is(err, state) {
			return fmt.Errorf("%w: %w", errdefs.ErrFailedPrecondition, err)
		}
	}
	return err
}
