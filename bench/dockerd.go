package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// dockerd is a daemon with everything below the bench's directory, its own
// containerd included. It makes no bridge and no firewall rules.
type dockerd struct {
	*daemon
	socket string
	own    string // socket of its containerd
	config string // of the docker command
	cli    string
}

// needDockerd starts dockerd, once, with the image in its store.
func (b *bench) needDockerd(ctx context.Context) (*dockerd, error) {
	if b.dockerd != nil {
		return b.dockerd, nil
	}
	path, err := need("dockerd", "docker.io")
	if err != nil {
		return nil, err
	}
	// Of the same package, if there are several.
	cli := "/usr/bin/docker"
	if _, err := os.Stat(cli); err != nil {
		if cli, err = need("docker", "docker.io"); err != nil {
			return nil, err
		}
	}
	b.forgetOwn()
	dir := filepath.Join(b.dir, "docker")
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	d := &dockerd{socket: file("d.sock"), own: file("exec/containerd/containerd.sock"), config: file("cli"), cli: cli}
	// The host's own configuration is for the host's own dockerd.
	if err := os.WriteFile(file("config.json"), []byte("{}"), 0o600); err != nil {
		return nil, err
	}
	d.daemon, err = startDaemon(ctx, file("log"), d.socket, path,
		"--host", "unix://"+d.socket, "--data-root", file("root"), "--exec-root", file("exec"),
		"--pidfile", file("pid"), "--config-file", file("config.json"),
		"--storage-driver", "overlay2", "--cgroup-parent", "/"+b.name,
		"--iptables=false", "--ip6tables=false", "--bridge=none", "--ip-forward=false", "--ip-masq=false", "--userland-proxy=false",
		"--log-level", "error")
	if err != nil {
		return nil, err
	}
	b.later(d.stop)
	b.dockerd = d
	if err := d.answers(ctx); err != nil {
		return nil, err
	}
	return d, d.run(ctx, "load", "--quiet", "--input", b.image.archive)
}

// forgetOwn has the bench remove what dockerd makes at paths that no option
// changes: a key, and a directory for plugins. What was there before stays.
func (b *bench) forgetOwn() {
	for _, path := range []string{"/etc/docker", "/etc/docker/key.json", "/run/docker"} {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			b.later(func() error { return os.RemoveAll(path) })
		}
	}
}

// answers waits for the API, which comes after the socket.
func (d *dockerd) answers(ctx context.Context) error {
	for n := 0; ; n++ {
		err := d.run(ctx, "version")
		if err == nil || n == 100 || ctx.Err() != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// run runs the docker command.
func (d *dockerd) run(ctx context.Context, args ...string) error {
	return execute(ctx, d.env(), d.cli, args...)
}

func (d *dockerd) env() []string {
	return []string{"DOCKER_HOST=unix://" + d.socket, "DOCKER_CONFIG=" + d.config, "DOCKER_CONTEXT=default"}
}

func (d *dockerd) shims() []int { return shimsOf(d.own) }
