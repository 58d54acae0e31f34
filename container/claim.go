package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/spec"
)

// Claim says what is one instance's own of those of a [Pool]. Each field means what the
// field of Config with its name does; the zero value is what the pool's Config says.
type Claim struct {
	// Name is what the container is called; "" means that its id is its name. Its
	// hostname follows it, unless the pool's Config has one.
	Name string

	// Args replaces the pool's Args, and the image's Cmd; the entrypoint stays.
	Args []string

	// Env is added to the pool's; of one name the last wins.
	Env []string

	// Dir and User take the place of the pool's.
	Dir, User string

	// Stdin is the container's alone: a pool has none.
	Stdin io.Reader

	// Stdout and Stderr take the place of the pool's.
	Stdout, Stderr io.Writer

	// TTY gives the container a terminal, also where the pool's have none.
	TTY bool

	// Labels are added to the pool's; of one name this one wins.
	Labels map[string]string

	// StopSignal and StopTimeout take the place of the pool's.
	StopSignal  string
	StopTimeout time.Duration
}

// over lays the claim over a pool's configuration.
func (c Claim) over(cfg Config) Config {
	cfg.Name, cfg.Stdin = c.Name, c.Stdin
	if len(c.Args) > 0 {
		cfg.Args = c.Args
	}
	cfg.Env = slices.Concat(cfg.Env, c.Env)
	if c.Dir != "" {
		cfg.Dir = c.Dir
	}
	if c.User != "" {
		cfg.User = c.User
	}
	if c.Stdout != nil {
		cfg.Stdout = c.Stdout
	}
	if c.Stderr != nil {
		cfg.Stderr = c.Stderr
	}
	cfg.TTY = cfg.TTY || c.TTY
	if len(c.Labels) > 0 {
		labels := maps.Clone(cfg.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, c.Labels)
		cfg.Labels = labels
	}
	if c.StopSignal != "" {
		cfg.StopSignal = c.StopSignal
	}
	if c.StopTimeout != 0 {
		cfg.StopTimeout = c.StopTimeout
	}
	return cfg
}

// errUnfit is the error of a warm instance that can't become what is claimed.
var errUnfit = errors.New("the warm instance does not do")

// claim makes a container of a warm instance, which is gone after an error.
func (w *warm) claim(ctx context.Context, cfg Config) (_ *Container, err error) {
	claimed := false
	defer func() {
		if !claimed {
			err = errors.Join(err, w.undo.Run())
		}
	}()
	own, cancel := w.own(ctx)
	defer cancel()
	w.cfg, w.parked = cfg, false
	if err := w.enterNetworks(cfg.name(w.id)); err != nil {
		return nil, err
	}
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	if cfg.Name != "" {
		if err := w.in.Claim(own, w.id, cfg.Name, false); err != nil {
			return nil, err
		}
	}
	r, err := w.record(w.parts)
	if err != nil {
		return nil, err
	}
	if r, err = w.in.Client.ContainerService().Update(own, r); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	c, err := w.instance(ctx, own, r, w.parts, w.give)
	claimed = err == nil
	return c, err
}

// settle writes the configuration anew, as New would. What was made already has to be
// as the new one says.
func (w *warm) settle(ctx context.Context) error {
	p := &w.parts
	was := p.options
	w.made = p.spec
	asked, err := w.cfg.options(w.id)
	if err != nil {
		return err
	}
	p.options.Args, p.options.Entrypoint, p.options.Env = asked.Args, asked.Entrypoint, asked.Env
	p.options.Dir, p.options.TTY, p.options.Hostname = asked.Dir, asked.TTY, asked.Hostname
	p.options.Addresses = w.addresses()
	whole, err := w.in.Doors.Snapshot(p.mounts, p.options.Files)
	if err != nil {
		return err
	}
	defer whole.Close()
	if p.spec, err = w.configure(ctx, p.class.Image, p.options, whole.In(ctx)); err != nil {
		return err
	}
	if !spec.SameBeside(w.made, p.spec) {
		return errUnfit
	}
	if p.options.Hostname != was.Hostname || len(p.options.Addresses) > 0 {
		return spec.WriteNames(p.options)
	}
	return nil
}

// give gives the first process its command. It is a create.
func (w *warm) give(ctx context.Context, io cio.Config) (pid int, err error) {
	s := w.parts.spec
	err = life.Explain(w.in.Backend.Parker().Give(ctx, w.id, s.Hostname, s.Process, io))
	if errdefs.IsFailedPrecondition(err) || errdefs.IsUnavailable(err) || errdefs.IsNotImplemented(err) {
		err = fmt.Errorf("%w: %w", errUnfit, err) // it has ended, or its shim has
	}
	return w.pid, err
}
