package shim

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"

	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/host"
	"github.com/ctorhq/ctor/internal/shim/command"
	"github.com/ctorhq/ctor/internal/shim/stock"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// Describe tells what runs the containers of the shim at path, which need not
// run: its file is asked, as a containerd asks it.
func Describe(ctx context.Context, path string) (task.About, error) {
	if path == Self {
		binary, err := host.Runtime()
		if err != nil {
			return task.About{}, err
		}
		return command.Describe(ctx, binary)
	}
	cmd := exec.CommandContext(ctx, path, "-info")
	cmd.Env = (&Program{}).environ()
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(complaint.Bytes()))
	}
	var about task.About
	if err == nil {
		about, err = stock.ParseInfo(out)
	}
	if err != nil {
		return about, fmt.Errorf("shim %s does not tell what it is: %w (%w): %s", path, err, errdefs.ErrUnavailable, Install())
	}
	return about, nil
}
