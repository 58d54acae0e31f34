package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// runc is the runtime as a command, with ctor's own configuration: the same
// namespaces, limits, masked paths and seccomp filter, over an overlay mount.
// What it does without is images, records, a log, and a program to ask.
type runc struct {
	path   string
	root   string // runc's state
	dir    string // bundles
	rootfs string
	cgroup string
	spec   []byte
	n      atomic.Int64
	boxed  string
}

func (r *runc) name() string { return "runc run" }

func (r *runc) start(_ context.Context, b *bench) (err error) {
	r.root, r.dir = filepath.Join(b.dir, "runc-state"), filepath.Join(b.dir, "runc")
	r.rootfs, r.spec, r.cgroup = b.image.rootfs, b.image.spec, "/"+b.name+"/runc-"
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	r.path, err = need("runc", "runc")
	return err
}

// bundle makes a bundle with its root mounted, and gives what undoes it.
func (r *runc) bundle(id string, args ...string) (dir string, undo func() error, err error) {
	dir = filepath.Join(r.dir, id)
	for _, d := range []string{"upper", "work", "rootfs"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return "", nil, err
		}
	}
	if err := r.configure(dir, id, args); err != nil {
		return "", nil, err
	}
	merged := filepath.Join(dir, "rootfs")
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", r.rootfs, dir, dir)
	if err := syscall.Mount("overlay", merged, "overlay", 0, options); err != nil {
		return "", nil, fmt.Errorf("mount overlay: %w", err)
	}
	return dir, func() error {
		return errors.Join(syscall.Unmount(merged, 0), os.RemoveAll(dir))
	}, nil
}

// configure writes ctor's configuration for another place.
func (r *runc) configure(dir, id string, args []string) error {
	var s specs.Spec
	if err := json.Unmarshal(r.spec, &s); err != nil {
		return err
	}
	s.Root.Path = "rootfs"
	s.Process.Args = args
	s.Linux.CgroupsPath = r.cgroup + id
	for n, m := range s.Mounts {
		if m.Destination != "/etc/hosts" && m.Destination != "/etc/hostname" {
			continue
		}
		s.Mounts[n].Source = filepath.Join(dir, filepath.Base(m.Destination))
		if err := os.WriteFile(s.Mounts[n].Source, []byte("127.0.0.1 localhost\n"), 0o644); err != nil {
			return err
		}
	}
	config, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600)
}

func (r *runc) life(ctx context.Context) error {
	id := fmt.Sprintf("life-%d", r.n.Add(1))
	dir, undo, err := r.bundle(id, "true")
	if err != nil {
		return err
	}
	return errors.Join(execute(ctx, nil, r.path, "--root", r.root, "run", "--bundle", dir, id), undo())
}

func (r *runc) box(ctx context.Context) (func() error, error) {
	r.boxed = "box"
	dir, undo, err := r.bundle(r.boxed, "sleep", "1000")
	if err != nil {
		return nil, err
	}
	// The container keeps the streams of a detached run: pipes would never end.
	cmd := "exec " + r.path + " --root " + r.root + " run --detach --bundle " + dir + " " + r.boxed + " </dev/null >/dev/null 2>&1"
	if err := execute(ctx, nil, "/bin/sh", "-c", cmd); err != nil {
		return nil, errors.Join(err, undo())
	}
	return func() error {
		return errors.Join(execute(context.Background(), nil, r.path, "--root", r.root, "delete", "--force", r.boxed), undo())
	}, nil
}

func (r *runc) exec(ctx context.Context) error {
	return execute(ctx, nil, r.path, "--root", r.root, "exec", r.boxed, "true")
}
