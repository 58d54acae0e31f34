package container

import (
	"io"
	"maps"
	"slices"
	"time"
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
