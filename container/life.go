package container

import (
	"cmp"
	"context"

	api "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/cio"

	"github.com/ctorhq/ctor/internal/backend"
	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/events"
	"github.com/ctorhq/ctor/internal/journal"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/logfile"
	"github.com/ctorhq/ctor/internal/record"
	"github.com/ctorhq/ctor/internal/unwind"
)

// life is what the container lives through now, or has last lived through.
func (c *Container) life() life.Life { return *c.now.Load() }

func (c *Container) setLife(l life.Life) { c.now.Store(&l) }

// first names the container's first process.
func (c *Container) first() life.Process {
	return life.Process{Tasks: c.e.Client.TaskService(), Container: c.ID()}
}

// asked is the life of a first process that outlives this program.
func (c *Container) asked() *life.Asked {
	lives := c.journal
	if !c.detached() && !c.kept() { // another program's, which writes nothing down
		lives = journal.At(c.e.Dir(c.ID()))
	}
	return &life.Asked{
		Process: c.first(), Enter: c.enter, Gone: c.e.Backend.Gone, OOM: c.oomKilled,
		Complete: func(ctx context.Context) error { return c.e.Backend.Complete(ctx, c.output()) },
		Journal:  lives,
	}
}

// create has the runtime make the first process of a life, with these streams, and
// gives its pid.
type create func(ctx context.Context, io cio.Config) (pid int, err error)

// onto makes it over the mounts of the writable layer.
func (c *Container) onto(rootfs []mount.Mount) create {
	return func(ctx context.Context, io cio.Config) (pid int, err error) {
		err = c.links.Shared(ctx, func() (err error) {
			pid, err = c.first().Create(ctx, c.task(rootfs, io))
			return err
		})
		return pid, err
	}
}

// task is what the runtime is to make.
func (c *Container) task(rootfs []mount.Mount, io cio.Config) *api.CreateTaskRequest {
	o, _ := c.outline()
	return &api.CreateTaskRequest{
		ContainerID: c.ID(), Terminal: io.Terminal, Stdin: io.Stdin, Stdout: io.Stdout, Stderr: io.Stderr,
		Rootfs: engine.Mounts(c.overPoints(o.Mounts(rootfs))),
	}
}

// oomKilled tells whether the kernel has killed a process of the container for
// want of memory. Once the container is deleted that is not known any more.
func (c *Container) oomKilled() bool { return cgroup.At(c.cgroup()).OOMKills() > 0 }

// cgroup is where the container is, in every hierarchy; "": unknown.
func (c *Container) cgroup() string {
	o, _ := c.outline()
	return o.Linux.CgroupsPath
}

// bounded is the error of what needs a cgroup, of a container that can have none.
func (c *Container) bounded() error {
	if c.cgroup() != "" {
		return nil
	}
	return cgroup.Absent()
}

// output is where the log of the first process is.
func (c *Container) output() engine.Output {
	return engine.Output{ID: c.ID(), Dir: c.e.Dir(c.ID())}
}

// create has the runtime make the first process of a life.
func (c *Container) create(ctx context.Context, create create, instead *replacement, undo *unwind.Stack) (life.Life, error) {
	o, err := c.outline()
	if err != nil {
		return nil, err
	}
	if c.kept() {
		drop, err := c.journal.Take(engine.Owner())
		if err != nil {
			return nil, err
		}
		undo.Push(func() error { drop(); return nil })
	}
	streams, err := c.streams(instead, o.Process.Terminal)
	if err != nil {
		return nil, err
	}
	undo.Push(func() error {
		streams.Drop()
		_ = streams.Drain(false) // nothing has been written that could make a copy wait
		return nil
	})
	undo.Push(func() error { // also of a daemon that did not answer in time
		ctx, cancel := c.e.Cleanup(ctx)
		defer cancel()
		return c.e.DeleteTask(ctx, c.ID())
	})
	pid, err := create(ctx, streams.Config())
	if err != nil {
		return nil, err
	}
	if err := streams.Given(pid); err != nil {
		return nil, err
	}
	if c.detached() {
		if err := c.links.Delegate(pid); err != nil {
			return nil, err
		}
		return c.asked(), nil
	}
	undo.Push(c.links.End)
	if err := c.links.Begin(pid); err != nil {
		return nil, err
	}
	before := 0
	if l := c.now.Load(); l != nil {
		before = (*l).Number()
	}
	return life.New(c.first(), life.Watching{
		Gone: c.e.Backend.Gone, Streams: streams, Pid: pid,
		Before: before, Journal: c.journal, Owner: engine.Owner(),
		Began: func(l *life.Seen) { c.began(l) },
	}), nil
}

// overPoints puts the layer of mount points below the container's others, if it ends
// with this program. A root of the host's may be on another file system: with a layer of
// one more, overlay would give its files other numbers.
func (c *Container) overPoints(mounts []mount.Mount) []mount.Mount {
	if c.detached() || c.kept() || c.root != nil {
		return mounts
	}
	return c.e.OverPoints(mounts)
}

// streams makes the streams of the first process.
func (c *Container) streams(instead *replacement, tty bool) (engine.Streams, error) {
	if instead != nil {
		return backend.Hand(instead.streams), nil
	}
	out := c.output()
	out.Limit, out.TTY, out.EndInput = cmp.Or(c.about.LogLimit, logfile.DefaultLimit), tty, c.endInput
	if c.detached() {
		return c.e.Backend.Detach(out)
	}
	return c.e.Backend.Attach(out, c.stdio)
}

// endInput tells the runtime that there is no more input.
func (c *Container) endInput() {
	ctx, cancel := c.e.Cleanup(context.Background())
	defer cancel()
	_ = c.first().CloseInput(ctx) // an error: the process is gone, and its input with it
}

// adopt settles to whom the finished container belongs: its processes to the
// engine or to no program, and the same with its files and its record.
func (c *Container) adopt(ctx context.Context) (err error) {
	if c.detached() || c.kept() {
		c.about.Owner = ""
		c.record, err = c.e.Note(ctx, c.ID(), func(r *record.Record) { r.Owner = "" })
		if err != nil {
			return err
		}
	}
	if !c.detached() {
		if err := c.e.Attach(c.ID(), c); err != nil {
			return err
		}
	}
	c.report(events.Created, events.Event{})
	c.watch(c.life())
	return nil
}

// watch has a life that is this program's seen to its end, and a detached container
// attended to.
func (c *Container) watch(l life.Life) {
	switch seen, ok := l.(*life.Seen); {
	case ok:
		c.overfull.Store(false)
		if c.about.Disk > 0 {
			go c.watchDisk(c.e.Life(), l)
		}
		go func() {
			seen.Watch(c.e.Context(context.Background()), func(e *life.Exit) {
				_ = c.links.End() // what it had is gone with it
				e.OOMKilled, e.DiskExceeded = c.oomKilled(), c.overfull.Load()
				c.over(seen, *e)
			})
			c.pass(l)
			c.afterEnd(l)
		}()
	case c.detached():
		go c.attend()
	}
}

// pass has the runtime let go of a life that has ended, so that it has no cgroup any
// more, and neither a next life nor Close waits for that. It is left to those where
// another program may begin the next one, or where the runtime may still have output
// of a command.
func (c *Container) pass(l life.Life) {
	if !c.e.Backend.Sole() || c.handed || !c.awaitCommands() || c.commands.Relayed() {
		return
	}
	ctx, leave, err := c.enter(context.Background())
	if err != nil {
		return
	}
	defer leave()
	c.passing.Lock()
	defer c.passing.Unlock()
	if c.ending.Load() || c.life() != l {
		return
	}
	_ = c.letGo(ctx, l)
}

// letGo has the runtime let go of a life that has ended, with passing held.
func (c *Container) letGo(ctx context.Context, l life.Life) error {
	ctx, cancel := c.e.Cleanup(ctx)
	defer cancel()
	if c.past == l {
		return nil
	}
	if err := c.e.DeleteEnded(ctx, c.ID()); err != nil {
		return err
	}
	c.past = l
	return nil
}
