package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// containerd is a daemon with root, state and socket below the bench's
// directory.
type containerd struct {
	*daemon
	socket    string
	namespace string // names the parent of the containers' cgroups, too
	ctr       string
}

// needContainerd starts containerd, once, with the image in its store.
func (b *bench) needContainerd(ctx context.Context) (*containerd, error) {
	if b.containerd != nil {
		return b.containerd, nil
	}
	path, err := need("containerd", "containerd")
	if err != nil {
		return nil, err
	}
	ctr, err := need("ctr", "containerd")
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, "containerd")
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	c := &containerd{socket: filepath.Join(dir, "c.sock"), namespace: b.name, ctr: ctr}
	config := filepath.Join(dir, "config.toml")
	// CRI is of no use here and wants CNI.
	if err := os.WriteFile(config, []byte("version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"), 0o600); err != nil {
		return nil, err
	}
	c.daemon, err = startDaemon(ctx, filepath.Join(dir, "log"), c.socket, path,
		"--config", config, "--root", filepath.Join(dir, "root"), "--state", filepath.Join(dir, "state"),
		"--address", c.socket, "--log-level", "error")
	if err != nil {
		return nil, err
	}
	b.later(c.stop)
	b.containerd = c
	return c, c.run(ctx, "image", "import", b.image.archive)
}

// run runs ctr.
func (c *containerd) run(ctx context.Context, args ...string) error {
	return execute(ctx, []string{tmp(filepath.Dir(c.socket))}, c.ctr, append([]string{"--address", c.socket, "--namespace", c.namespace}, args...)...)
}

// shims are the daemon's: they have its socket in their command line.
func (c *containerd) shims() []int { return shimsOf(c.socket) }

// shimsOf finds the stock shims of a containerd.
func shimsOf(socket string) []int {
	return matching(func(pid int) bool {
		cmd := cmdline(pid)
		return strings.Contains(cmd, "containerd-shim") && strings.Contains(cmd, "-address "+socket)
	})
}
