// Package body makes what a container has before it has a process, and with that its
// first life: its name, users of its own, addresses in networks, a writable layer,
// volumes and views of images, a directory of files, a configuration, and the record by
// which other programs find it.
//
// A [Plan] says in plain values what is wanted; package container makes one of its
// Config. [Make] takes the steps one by one, and then calls a function that gives the
// [Body] a process. Each step says how it is undone: when one fails, when a function of
// the program's panics, or when ctx ends, Make leaves nothing behind.
//
// A body can also wait without a command ([Plan.Parked]), until [Body.Become] gives it
// one.
package body

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/lan"
	"github.com/ctorhq/ctor/internal/links"
	"github.com/ctorhq/ctor/internal/ready"
	"github.com/ctorhq/ctor/internal/record"
	"github.com/ctorhq/ctor/internal/spec"
	"github.com/ctorhq/ctor/internal/unwind"
)

// Plan is what a container is to be. Zero values mean what its image says.
type Plan struct {
	ID       string
	Ref      string             // what the image is called
	Manifest ocispec.Descriptor // the image's
	Given    *Given             // the caller's files instead of the image's; nil: the image's

	// Wanted is what the caller says of the configuration; Make finds out the rest. User
	// is looked up in the container's own files.
	Wanted spec.Options
	User   string

	Mounts  []spec.Mount
	Network links.Plan
	Disk    int64 // what it may write, in bytes; 0: no bound
	Init    bool  // package reaper's program executes the command

	// Edit has the last word on the configuration. nil changes nothing.
	Edit func(*specs.Spec) error

	// Command takes the place of the first process; nil: the process is what Wanted and
	// the image say.
	Command *spec.Command

	// Parked leaves the command and the networks to Become.
	Parked bool

	// Health is the check of its health; nil is the image's, and one without Args none.
	Health *ready.Healthcheck

	// Record has what the caller says of the container's record: its name, labels and
	// policies, and whether it is detached or kept. Make finds out the rest.
	Record record.Record
}

// lasting tells whether the container's files may outlive the program.
func (p *Plan) lasting() bool { return p.Record.Detached || p.Record.Kept }

// Body is what a container has before it has a process.
type Body struct {
	Record  containers.Container // as it is in the database
	Root    []mount.Mount        // what the root is mounted from
	Members []*lan.Member        // of its networks
	Undo    unwind.Stack         // of all that was made; a Finish adds its own steps

	e       *engine.Engine
	plan    Plan
	class   engine.Class
	options spec.Options
	spec    *specs.Spec
	volumes []volume
	views   []view
	users   uint32 // the first of its own; 0: it has the host's
	project uint32 // of the quota of its disk; 0: it has none
	watched int64  // the bound of its disk that its program watches; 0: it has none
}

// Outline is what the configuration says, as far as it is needed later.
func (b *Body) Outline() *spec.Outline { return spec.OutlineOf(b.spec) }

// Process is the first process as the configuration has it, and Hostname the name of
// the container's host.
func (b *Body) Process() *specs.Process { return b.spec.Process }
func (b *Body) Hostname() string        { return b.spec.Hostname }

// A Finish gives a body its process. How that is undone it pushes to the body's Undo.
// Its ctx goes on for some time when that of the call has ended.
type Finish func(ctx context.Context, b *Body) error

// Make makes a body and finishes it. ctx is that of a call on e. Its end cuts off the
// steps that may take long and leave nothing; the others are seen through, since what is
// left of a step that was cut off is not known, and could not be undone.
func Make(ctx context.Context, e *engine.Engine, p Plan, finish Finish) error {
	if err := prepare(e); err != nil {
		return err
	}
	b := &Body{e: e, plan: p}
	return b.attempt(ctx, func(own context.Context) error {
		if err := b.make(ctx, own); err != nil {
			return err
		}
		release, err := b.useVolumes(ctx)
		if err != nil {
			return err
		}
		defer release() // the record names them by then
		if err := b.boundDisk(own); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := b.enroll(own); err != nil {
			return err
		}
		return finish(own, b)
	})
}

// prepare tells what the host lacks, and settles what is owed.
func prepare(e *engine.Engine) error {
	if e.Preflight != nil {
		if err := e.Preflight(); err != nil {
			return err
		}
	}
	_ = e.Settle() // what still can't be undone is told by the engine's Close
	return nil
}

// attempt does something with the body, and undoes all that was done to the body, now
// and before, if it fails. It does so after a panic too: the plan has functions of the
// program's.
func (b *Body) attempt(ctx context.Context, do func(own context.Context) error) (err error) {
	done := false
	defer func() {
		if !done {
			err = errors.Join(err, b.Undo.Run())
		}
	}()
	own, cancel := b.own(ctx)
	defer cancel()
	err = do(own)
	done = err == nil
	return err
}

// Limits for a daemon that hangs. A snapshotter that copies the image may well
// need minutes.
const (
	makeLimit = 10 * time.Minute
	cutLimit  = 30 * time.Second // once ctx has ended
)

// own is the context of steps that go on when ctx ends, but not for long.
func (b *Body) own(ctx context.Context) (context.Context, context.CancelFunc) {
	own, cancel := context.WithTimeout(b.e.Context(context.WithoutCancel(ctx)), makeLimit)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(cutLimit, cancel) })
	return own, func() {
		stop()
		cancel()
	}
}

// make takes the steps from the image to the configuration.
func (b *Body) make(ctx, own context.Context) (err error) {
	if err := b.ask(ctx); err != nil {
		return err
	}
	if err := b.makeVolumes(own); err != nil {
		return err
	}
	id := b.plan.ID
	b.push(own, func(ctx context.Context) error {
		return b.e.Remove(ctx, containers.Container{ID: id, Snapshotter: b.e.Snapshotter})
	})
	if err := b.e.Claim(own, id, b.plan.Record.Name, b.plan.lasting()); err != nil {
		return err
	}
	if err := b.takeUsers(own); err != nil {
		return err
	}
	if !b.plan.Parked {
		if err := b.join(); err != nil {
			return err
		}
	}
	if err := b.makeLayer(ctx); err != nil {
		return err
	}
	if b.usual() {
		b.e.Expect(own, id, b.e.OverPoints(b.Root))
	}
	if err := b.show(ctx); err != nil {
		return err
	}
	if b.options.Files, err = b.makeDir(); err != nil {
		return err
	}
	if err := b.configure(ctx); err != nil {
		return err
	}
	return b.Outline().Shift(b.Root)
}

// usual tells whether what makes the process can begin with what is known when there is a
// layer: the container has namespaces of its own, and its root stays as it is. A bound of
// its disk is set on the layer's directories before they are mounted.
func (b *Body) usual() bool {
	p, w := &b.plan, &b.plan.Wanted
	return !p.lasting() && p.Edit == nil && p.Given == nil && p.Disk == 0 &&
		!w.Security.UserNS && !w.HostNet && w.ShareNet == ""
}

// ask finds out what the image and the caller want, before anything is made.
func (b *Body) ask(ctx context.Context) (err error) {
	if b.class, err = b.readClass(ctx); err != nil {
		return err
	}
	b.options = b.plan.Wanted
	o, image := &b.options, b.class.Image.Config
	o.ID, o.Hostname, o.Cgroup = b.plan.ID, b.hostname(), b.e.Cgroup(b.plan.ID)
	if b.plan.Parked && len(o.Args)+len(o.Entrypoint)+len(image.Entrypoint)+len(image.Cmd) == 0 {
		o.Args = []string{"none"} // until there is one
	}
	o.Mounts, err = b.mounts(image)
	return err
}

// push adds a step to Undo, with a context of its own.
func (b *Body) push(ctx context.Context, undo func(context.Context) error) {
	b.Undo.Push(func() error {
		ctx, cancel := b.e.Cleanup(ctx)
		defer cancel()
		return undo(ctx)
	})
}

// makeDir makes the directory for the container's files.
func (b *Body) makeDir() (string, error) {
	dir := b.e.Dir(b.plan.ID)
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return "", err
	}
	return dir, os.Mkdir(dir, 0o700)
}

// takeUsers takes users of its own for the container that is to have them. They are
// given back with the container's other parts.
func (b *Body) takeUsers(ctx context.Context) (err error) {
	if !b.plan.Wanted.Security.UserNS {
		return nil
	}
	b.users, err = b.e.TakeUsers(ctx, b.plan.ID)
	b.options.Users = spec.Users{First: b.users, Count: engine.UsersEach}
	return err
}

// join claims names and addresses in the networks that the container is to be in.
func (b *Body) join() (err error) {
	b.Members, err = b.plan.Network.Enter(&b.e.Networks, b.plan.ID, b.name(), &b.Undo)
	return err
}
