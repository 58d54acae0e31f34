// Package criu is what the shim knows of CRIU, which writes the processes of a
// container to files, its images, and makes them again: how its images are mended
// so that another container can be made of them, and what it complains of.
//
// Checkpoints are a verb of the shim's task API only: programs reach it through
// Engine.Containerd, and stock containerds through theirs. The public packages
// have no checkpoints.
package criu

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/containerd/errdefs"
)

// Check says what the host lacks to make checkpoints.
func Check() error {
	if _, err := exec.LookPath("criu"); err != nil {
		return fmt.Errorf("no criu on PATH to make and restore checkpoints with (%w): apt-get install criu", errdefs.ErrUnavailable)
	}
	return nil
}

// Explain adds to an error what CRIU complained of last in its log.
func Explain(log string, err error) error {
	b, _ := os.ReadFile(log)
	last := ""
	for line := range strings.Lines(string(b)) {
		if _, complaint, ok := strings.Cut(line, "Error "); ok && !strings.Contains(complaint, "RLIMIT_NOFILE") {
			last = strings.TrimSpace(complaint)
		}
	}
	if last == "" {
		return err
	}
	return fmt.Errorf("%w: criu: %s", err, last)
}
