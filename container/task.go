package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/cio"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/life"
)

// first names the container's first process.
func (c *Container) first() life.Process {
	return life.Process{Tasks: c.e.Client.TaskService(), Container: c.ID()}
}

// asked is the life of a first process that outlives this program.
func (c *Container) asked() *life.Asked {
	return &life.Asked{
		Process: c.first(), Enter: c.enter, Gone: c.e.Backend.Gone, OOM: c.oomKilled,
		Complete: func(ctx context.Context) error { return c.e.Backend.Complete(ctx, c.output()) },
		Journal:  &life.Journal{Dir: c.e.Dir(c.ID())},
	}
}

// createTask has the runtime create the container's first process.
func (c *Container) createTask(ctx context.Context, rootfs []mount.Mount, io cio.Config) (pid int, err error) {
	r := &api.CreateTaskRequest{Terminal: io.Terminal, Stdin: io.Stdin, Stdout: io.Stdout, Stderr: io.Stderr}
	for _, m := range rootfs {
		r.Rootfs = append(r.Rootfs, &types.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options})
	}
	return c.first().Create(ctx, r)
}

// createLinked is createTask, while the network that the container shares is found.
func (c *Container) createLinked(ctx context.Context, rootfs []mount.Mount, io cio.Config) (pid int, err error) {
	done, err := c.offer(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, done()) }()
	return c.createTask(ctx, rootfs, io)
}

// labelled gives the mounts the SELinux label that a specification asks for.
func labelled(rootfs []mount.Mount, label string) []mount.Mount {
	if label == "" {
		return rootfs
	}
	var list []mount.Mount
	for _, m := range rootfs {
		m.Options = append(m.Options[:len(m.Options):len(m.Options)], fmt.Sprintf("context=%q", label))
		list = append(list, m)
	}
	return list
}

// oomKilled tells whether the kernel has killed a process of the container for
// want of memory. Once the container is deleted that is not known any more.
func (c *Container) oomKilled() bool { return cgroup.At(c.cgroup()).OOMKills() > 0 }

// readCgroup reads from the record which cgroup the container is in, in every
// hierarchy; "" is unknown.
func (c *Container) readCgroup() string {
	var s struct {
		Linux struct{ CgroupsPath string }
	}
	if c.record.Spec == nil || json.Unmarshal(c.record.Spec.GetValue(), &s) != nil {
		return ""
	}
	return s.Linux.CgroupsPath
}
