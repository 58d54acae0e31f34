package native

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/shim/native/forker"
	"github.com/ctorhq/ctor/internal/shim/task"
	"github.com/ctorhq/ctor/internal/unwind"
)

// create makes a container, with its first process waiting to be started. With a nil
// io it waits for its command before that.
func (e *Executor) create(ctx context.Context, b task.Bundle, io *task.Stdio) (_ *container, _ task.Process, err error) {
	var none task.Process
	var undo unwind.Stack
	defer undo.OnError(&err)
	if err := ctx.Err(); err != nil {
		return nil, none, err
	}
	c := &container{executor: e, id: b.ID, spec: b.Spec, group: ownCgroup(b.Spec), root: -1, pidfd: -1}
	var script forker.Script
	defer script.Close()
	spaces, err := openSpaces(&script, b.Spec.Linux.Namespaces)
	if err != nil {
		return nil, none, err
	}
	if c.users, err = e.makeUsers(ctx, &script, b.Spec.Linux, spaces.own); err != nil {
		return nil, none, err
	}
	order := forker.Order{Namespaces: spaces.born(c.users), Pids: spaces.pids}
	begun, err := e.goOn(ctx, c.group, order, spaces.has(unix.CLONE_NEWCGROUP), b.Mounts, func() (int, error) { return e.openRoot(b, c.users) })
	if err != nil {
		return nil, none, err
	}
	defer begun.close()
	undo.Push(begun.undo)
	if err := begun.placed(); err != nil {
		return nil, none, err
	}
	if c.root, err = begun.rooted(); err != nil {
		return nil, none, err
	}
	if err := c.prepare(&script, spaces, b, io); err != nil {
		return nil, none, err
	}
	child, err := begun.born()
	if err != nil {
		return nil, none, err
	}
	if err := child.Carry(&script); err != nil {
		return nil, none, err
	}
	c.pid = child.Pid
	if c.pidfd, err = unix.PidfdOpen(child.Pid, 0); err != nil {
		return nil, none, fmt.Errorf("pidfd of process %d: %w", child.Pid, err)
	}
	undo.Push(func() error { return unix.Close(c.pidfd) })
	terminal, err := child.Ready(ctx)
	if err != nil {
		return nil, none, err
	}
	c.waiting, c.parked = child, io == nil
	return c, task.Process{Pid: child.Pid, Console: terminal}, nil
}

// ownCgroup is the path of a container's; "" is that it has none, where none can be made.
func ownCgroup(s *specs.Spec) string {
	if cgroup.Absent() != nil {
		return ""
	}
	return filepath.Clean(s.Linux.CgroupsPath)
}

// prepare bounds the cgroup, and makes the script of the process that is in it.
func (c *container) prepare(s *forker.Script, own spaces, b task.Bundle, io *task.Stdio) (err error) {
	if err := cgroup.Limit(c.group, b.Spec.Linux.Resources, rules(b.Spec)); err != nil {
		return err
	}
	if c.filter, err = c.executor.filters.compile(b.Spec.Linux.Seccomp); err != nil {
		return err
	}
	return c.write(s, own, b, io)
}

// write makes a script of the configuration, up to the command with a nil io.
func (c *container) write(s *forker.Script, own spaces, b task.Bundle, io *task.Stdio) error {
	l := &layout{Script: s, dir: b.Dir, group: c.group, spaces: own, users: c.users}
	c.users.join(s)
	s.Root(c.root)
	if err := l.mounts(b.Spec); err != nil {
		return err
	}
	if err := l.dev(b.Spec); err != nil {
		return err
	}
	l.names(b.Spec)
	s.Pivot()
	if io != nil {
		return c.writeCommand(l, b.Spec, *io)
	}
	if c.finished = l.indifferent(b.Spec); c.finished {
		l.finish(b.Spec)
	}
	c.last = l.last
	s.Rest()
	return nil
}

// writeCommand makes a script of what depends on the command.
func (c *container) writeCommand(l *layout, spec *specs.Spec, io task.Stdio) error {
	env, err := environ(spec.Process, c.root)
	if err != nil {
		return err
	}
	p := process{Process: spec.Process, id: c.id, first: true, env: env, filter: c.filter, users: c.users}
	p.streams(l.Script, io)
	l.Directory(true, p.Cwd)
	if !c.finished {
		l.finish(spec)
	}
	if err := p.settings(l.Script); err != nil {
		return err
	}
	if per := spec.Linux.Personality; per != nil {
		if len(per.Flags) > 0 || per.Domain != specs.PerLinux {
			return beyondf("personality %s", per.Domain)
		}
		l.Personality(0)
	}
	p.finish(l.Script)
	return nil
}

// names sets what the container's own namespaces have: names, network, sysctls.
func (l *layout) names(s *specs.Spec) {
	if s.Hostname != "" {
		l.HostName(s.Hostname)
	}
	if s.Domainname != "" {
		l.DomainName(s.Domainname)
	}
	if l.spaces.has(unix.CLONE_NEWNET) {
		l.Loopback()
	}
	for _, name := range slices.Sorted(maps.Keys(s.Linux.Sysctl)) {
		l.Setting("sys/"+sysctlPath(name), s.Linux.Sysctl[name])
	}
}

// sysctlPath is a sysctl's file: a name has dots for slashes, and where a part of
// it, as of an interface, has a dot itself, a slash stands for that, sysctl(8).
func sysctlPath(name string) string {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '/' {
		return name
	}
	return strings.NewReplacer(".", "/", "/", ".").Replace(name)
}
