package shim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/host"
	"github.com/ctorhq/ctor/internal/shim/command"
	"github.com/ctorhq/ctor/internal/shim/link"
	"github.com/ctorhq/ctor/internal/shim/native"
	"github.com/ctorhq/ctor/internal/shim/stock"
	"github.com/ctorhq/ctor/internal/shim/task"
	"github.com/ctorhq/ctor/internal/slate"
)

// Describe tells what runs the containers of the shim at path, which need not
// run: its file is asked, as a containerd asks it.
func Describe(ctx context.Context, path string) (task.About, error) {
	if path == Self {
		return describeSelf(ctx)
	}
	return describe(ctx, path, path)
}

// describeSelf is Describe for the program as its own shim. It can do without a
// command, but not make every container.
func describeSelf(ctx context.Context) (about task.About, err error) {
	binary, err := host.Runtime()
	if err == nil {
		about, err = command.Describe(ctx, binary)
	}
	about.Native = native.Supported()
	about.Seccomp = about.Seccomp || about.Native
	if about.Native && errdefs.IsUnavailable(err) {
		err = nil
	}
	return about, err
}

// Lacks says what the shim at path can't make any container without. It may change:
// a command can be removed.
func Lacks(path string) error {
	if path != Self || native.Supported() {
		return nil
	}
	_, err := host.Runtime()
	return err
}

// Info is Describe's answer as a containerd has it.
func Info(ctx context.Context, path string) (*types.RuntimeInfo, error) {
	about, err := Describe(ctx, path)
	if err != nil {
		return nil, err
	}
	return stock.Info(about)
}

// refusalLimit is how long a shim's file may take to tell what it is.
const refusalLimit = 10 * time.Second

// Refusal says why shims of the program end before they have answered anything,
// if it is for what they are: of another version, or none at all. A shim that
// refuses can't tell by the connection, which is part of what may differ; what a
// containerd asks does not.
func (p *Program) Refusal() error {
	if p.Path == Self {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), refusalLimit)
	defer cancel()
	_, err := describe(ctx, p.Path, p.exec())
	if errors.Is(err, fs.ErrPermission) { // as in start
		_, err = describe(ctx, p.Path, p.Path)
	}
	var errno syscall.Errno
	var exit *exec.ExitError
	if ctx.Err() != nil || errors.As(err, &errno) || errors.As(err, &exit) && !exit.Exited() {
		return nil // it could not be asked, on a host that lacks memory or time
	}
	return err
}

// describe executes a shim's file, which may be a copy of that at path.
func describe(ctx context.Context, path, file string) (task.About, error) {
	cmd := exec.CommandContext(ctx, file, "-info")
	cmd.Env = slate.Environ([]string{"PATH"})
	cmd.WaitDelay = time.Second // for what holds its output, of a file that is no shim
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(complaint.Bytes()))
	}
	var about task.About
	var protocol string
	if err == nil {
		about, protocol, err = stock.ParseInfo(out)
	}
	if err != nil {
		return about, fmt.Errorf("shim %s does not tell what it is: %w (%w): %s", path, err, errdefs.ErrUnavailable, Install())
	}
	if protocol != link.Protocol {
		return about, fmt.Errorf("shim %s is of another version: it speaks %s, and this program %s (%w): %s",
			path, link.Named(protocol), link.Named(link.Protocol), errdefs.ErrUnavailable, Install())
	}
	return about, nil
}
