//go:build seccomp

package seccomp

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/runc/libcontainer/configs"
)

// Enabled says that the program was built with seccomp.
const Enabled = true

// limit is how many compiled profiles are kept, 14 KB each. Programs use one
// or two; the limit is for one that makes a profile for each container.
const limit = 64

// Cache keeps compiled profiles. The zero value is empty.
type Cache struct {
	// Dir is a directory for them to be found in by other processes too; it is
	// made if missing. "" is none.
	Dir string

	mu      sync.Mutex
	entries map[key]*entry
	order   []key // oldest first
}

type entry struct {
	done    chan struct{} // closed when the fields below are set
	profile *configs.Seccomp
	err     error
}

// Ready returns a profile that has the effect of p and needs no compiling, or
// p where there is nothing to win or that can't be done. The profile is shared:
// don't change it.
func (c *Cache) Ready(ctx context.Context, p *configs.Seccomp) (*configs.Seccomp, error) {
	if p == nil {
		return nil, nil
	}
	for _, s := range p.Syscalls {
		if s != nil && strings.HasPrefix(s.Name, prefix) {
			return nil, fmt.Errorf("seccomp profile: %.40q is no syscall", s.Name)
		}
	}
	if !replaceable(p) {
		return p, nil
	}
	canonical, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("seccomp profile: %w", err)
	}
	k := keyOf(canonical)
	e := c.entry(k, func() (*configs.Seccomp, error) {
		// Others may wait for it: one caller's end is not theirs.
		f, err := c.filter(context.WithoutCancel(ctx), k, canonical)
		if err != nil {
			return nil, err
		}
		return standIn(p, f), nil
	})
	select {
	case <-e.done:
		return e.profile, e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// filter takes one from the disk, or compiles it.
func (c *Cache) filter(ctx context.Context, k key, profile []byte) (*filter, error) {
	d := disk(c.Dir)
	if f := d.load(k); f != nil {
		return f, nil
	}
	f, err := compile(ctx, profile)
	if err == nil {
		_ = d.store(k, f) // it costs the next process some time
	}
	return f, err
}

// entry returns the one for k. If there is none it is made; a failed one is
// not kept.
func (c *Cache) entry(k key, compile func() (*configs.Seccomp, error)) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[k]; ok {
		return e
	}
	e := &entry{done: make(chan struct{})}
	if c.entries == nil {
		c.entries = map[key]*entry{}
	}
	if len(c.order) == limit {
		delete(c.entries, c.order[0])
		c.order = c.order[1:]
	}
	c.entries[k] = e
	c.order = append(c.order, k)
	go func() {
		defer close(e.done)
		if e.profile, e.err = compile(); e.err != nil {
			c.forget(k, e)
		}
	}()
	return e
}

func (c *Cache) forget(k key, e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[k] == e {
		delete(c.entries, k)
		c.order = slices.DeleteFunc(c.order, func(other key) bool { return other == k })
	}
}

// replaceable says whether a stand-in can do what p does. It can't where p
// allows by default: libcontainer adds no ENOSYS instructions to such a
// program, and would to the stand-in's. Nor where a supervisor is asked, for
// then libcontainer has to see that in the profile. The former are short.
func replaceable(p *configs.Seccomp) bool {
	switch p.DefaultAction {
	case configs.Allow, configs.Log, configs.Trace, configs.Notify:
		return false
	}
	if p.DefaultErrnoRet != nil && *p.DefaultErrnoRet > 0xfff {
		return false // no errno; libcontainer gives some such values a meaning
	}
	return !slices.ContainsFunc(p.Syscalls, func(s *configs.Syscall) bool {
		return s == nil || s.Action == configs.Notify
	})
}
