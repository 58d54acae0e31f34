package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
)

// shimName is the file of the shim that is installed.
const shimName = "containerd-shim-ctor-v2"

// ctorPeer is what all of this is about: an engine in this process.
type ctorPeer struct {
	installed bool // the shim is a program of its own; else this one, executed again
	detach    bool

	root   string
	shim   string
	engine *ctor.Engine
	image  *image.Image
	boxed  *container.Container
	pool   *container.Pool

	mu    sync.Mutex
	times map[string][]time.Duration
}

func (c *ctorPeer) name() string {
	kind := "attached"
	if c.detach {
		kind = "detached"
	}
	if c.installed {
		kind += " (installed shim)"
	}
	return "ctor " + kind
}

func (c *ctorPeer) start(ctx context.Context, b *bench) (err error) {
	if c.shim, err = c.findShim(b); err != nil {
		return err
	}
	c.root = filepath.Join(b.dir, strings.NewReplacer(" ", "-", "(", "", ")", "").Replace(c.name()))
	if err := c.open(ctx); err != nil {
		return err
	}
	b.later(func() error { return c.engine.Close() })
	c.image, err = putImage(ctx, c.engine)
	return err
}

// findShim gives the program that is the shim.
func (c *ctorPeer) findShim(b *bench) (string, error) {
	if !c.installed {
		return b.program, nil
	}
	candidates := []string{"bin/" + shimName, "../bin/" + shimName, shimName}
	if b.options.shim != "" {
		candidates = []string{b.options.shim}
	}
	for _, path := range candidates {
		if found, err := exec.LookPath(path); err == nil {
			return filepath.Abs(found)
		}
	}
	return "", &missing{shimName, "make shim"}
}

func (c *ctorPeer) open(ctx context.Context) (err error) {
	c.engine, err = ctor.Open(ctx, ctor.Config{Root: c.root, Shim: c.shim})
	return err
}

// life takes output as a user would, and times its steps.
func (c *ctorPeer) life(ctx context.Context) error {
	var out, errs bytes.Buffer
	cfg := container.Config{Args: []string{"true"}, Stdout: &out, Stderr: &errs}
	if c.detach {
		cfg = container.Config{Args: []string{"true"}, Detach: true}
	}
	last := time.Now()
	lap := func(phase string) {
		now := time.Now()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.times == nil {
			c.times = map[string][]time.Duration{}
		}
		c.times[phase] = append(c.times[phase], now.Sub(last))
		last = now
	}
	i, err := c.image.New(ctx, cfg)
	if err != nil {
		return err
	}
	lap("New")
	err = i.Start(ctx)
	lap("Start")
	if err == nil {
		err = i.Wait(ctx)
		lap("Wait")
	}
	err = errors.Join(err, i.Close())
	lap("Close")
	return err
}

// phases gives the times of the lives since it was last asked.
func (c *ctorPeer) phases() map[string][]time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.times
	c.times = nil
	return t
}

func (c *ctorPeer) box(ctx context.Context) (func() error, error) {
	i, err := c.image.Run(ctx, container.Config{Name: "box", Args: []string{"sleep", "1000"}, Detach: c.detach})
	if err != nil {
		return nil, err
	}
	c.boxed = i
	return i.Close, nil
}

func (c *ctorPeer) exec(ctx context.Context) error {
	var stdout, stderr bytes.Buffer
	cmd := c.boxed.Command(ctx, "true")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	return cmd.Run()
}

func (c *ctorPeer) idle(ctx context.Context, _ int) (func() error, error) {
	i, err := c.image.Run(ctx, container.Config{Args: []string{"sleep", "1000"}, Detach: c.detach})
	if err != nil {
		return nil, err
	}
	return i.Close, nil
}

// helpers are the shims: what this program has started under their name.
// Detached ones are its children too, as long as it lives.
func (c *ctorPeer) helpers() []int {
	return matching(func(pid int) bool {
		if !strings.HasPrefix(cmdline(pid), shimName) || parent(pid) != os.Getpid() {
			return false
		}
		log, _ := os.Readlink(procFile(pid, "fd/1")) // below the engine's root
		return strings.HasPrefix(log, c.root+"/")
	})
}

func (c *ctorPeer) daemon() int { return os.Getpid() }
