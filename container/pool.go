package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/containerd/log"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/body"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/pool"
)

// Pool keeps warm instances of an image: containers whose namespaces, cgroup, files and
// mounts are there, and whose first process waits to be told what to execute. [Claim]
// takes one and tells it. It is safe for use by any number of goroutines.
//
// A claimed container is as one that New gives, in all that it may, sees and costs. No
// two claims share anything but what the pool's Config shares, such as a volume. What
// waits in the pool is in no list, and reaches and is reached by nothing: a container
// joins its networks, and gets its way out, when it is claimed. Each takes a cgroup and
// about half a MiB of the kernel's memory.
//
// Warm instances need the executor that is the library's own, and an engine of Open.
// Elsewhere (Dial; a kernel before 5.12; Security.UserNS; what Config.Spec may ask of a
// runtime, such as hooks) a pool is empty, and a claim makes its container as New does.
type Pool struct {
	order order  // that all instances are made by
	key   string // by which the engine knows the pool
	pool  *pool.Pool[*warm]
}

// Warm makes a pool of n warm instances of the image whose manifest is given, which are
// ready when it returns. Most programs call [image.Image.Warm], which calls this. ref
// is the name the image goes by, for Info.
//
// cfg is what all have in common; see Claim for what one may have of its own. Its
// Spec is called for each instance that is made, and again when that is claimed: what
// it changes beside Process has to be the same then, or the claim makes another
// container. Ready is not looked at: a claimed container's WaitReady takes one. Name,
// Stdin, Detach and Keep are ctor.ErrInvalid, and so is an n below 1; else the errors
// are those of New, but for those of the command, which only a claim needs.
//
// When Warm fails, or ctx ends before it returns, nothing is left.
//
// [image.Image.Warm]: https://pkg.go.dev/github.com/ctorhq/ctor/image#Image.Warm
func Warm(ctx context.Context, e *ctor.Engine, ref string, manifest ocispec.Descriptor, n int, cfg Config) (_ *Pool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("warm instances of %s: %w", ref, err)
		}
	}()
	switch {
	case n < 1:
		return nil, invalid("a pool of %d", n)
	case cfg.Name != "" || cfg.Stdin != nil:
		return nil, invalid("Name and Stdin are one container's: leave them to the claim")
	case cfg.Detach || cfg.Keep:
		return nil, invalid("Detach and Keep: a warm instance ends with the program")
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	in := engine.Of(e)
	ctx, leave, err := in.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave() // the engine's Close waits until it is done, or undone
	p := &Pool{order: order{ctor: e, in: in, cfg: cfg, ref: ref, manifest: manifest}, key: "pool " + newID()}
	if p.pool, err = pool.New(ctx, n, p.order.park, p.tell); err != nil {
		return nil, engine.Cause(ctx, err)
	}
	if err := in.Attach(p.key, p); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// tell tells the engine's Logger what no call can.
func (p *Pool) tell(err error) {
	ctx := p.order.in.Context(context.Background())
	log.G(ctx).WithError(err).Warnf("pool of warm instances of %s", p.order.ref)
}

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

// Claim gives a container of the pool's image and Config, with c's own: created, not
// started, as New gives it. A warm instance becomes it; if none waits, because others
// were faster than the pool makes new ones, it is made anew, as by New. The pool makes
// another in the background, one at a time.
//
// Errors are those of New, for the command and the user; an instance to which one was
// told is not used again. Where making instances in the background has failed, that
// error is joined to the one of a claim which could not make its container either. A
// claim from a closed pool is ctor.ErrClosed.
func (p *Pool) Claim(ctx context.Context, c Claim) (_ *Container, err error) {
	o := p.order
	o.cfg = c.over(o.cfg)
	defer func() {
		if err != nil {
			err = fmt.Errorf("claim container %q of %s: %w", c.Name, o.ref, err)
		}
	}()
	if err := o.cfg.check(); err != nil {
		return nil, err
	}
	ctx, leave, err := o.in.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	defer p.pool.Refill()
	for {
		w, ok, err := p.pool.Take()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", err, ctor.ErrClosed)
		}
		if !ok {
			return p.fresh(ctx, o)
		}
		c, err := w.claim(ctx, o)
		if errors.Is(err, body.ErrUnfit) {
			continue
		}
		return c, engine.Cause(ctx, err)
	}
}

// fresh makes a container as New does.
func (p *Pool) fresh(ctx context.Context, o order) (*Container, error) {
	failed := p.pool.Failed()
	o.id = newID()
	c, err := o.make(ctx)
	if err != nil && failed != nil {
		err = errors.Join(err, fmt.Errorf("before, in the background: %w", failed))
	}
	return c, err
}

// Close throws the warm instances away; claimed containers go on. The engine's Close
// does it as well. A second Close waits for the first, and gives the same.
func (p *Pool) Close() error {
	defer p.order.in.Forget(p.key, p)
	return p.pool.Close()
}
