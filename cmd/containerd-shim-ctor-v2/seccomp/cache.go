//go:build seccomp

package seccomp

import (
	"context"
	"crypto/sha256"
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
	mu      sync.Mutex
	entries map[[sha256.Size]byte]*entry
	order   [][sha256.Size]byte // oldest first
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
	e := c.entry(sha256.Sum256(canonical), func() (*configs.Seccomp, error) {
		// Others may wait for it: one caller's end is not theirs.
		f, err := compile(context.WithoutCancel(ctx), canonical)
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

// entry returns the one for key. If there is none it is made; a failed one is
// not kept.
func (c *Cache) entry(key [sha256.Size]byte, compile func() (*configs.Seccomp, error)) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[key]; ok {
		return e
	}
	e := &entry{done: make(chan struct{})}
	if c.entries == nil {
		c.entries = map[[sha256.Size]byte]*entry{}
	}
	if len(c.order) == limit {
		delete(c.entries, c.order[0])
		c.order = c.order[1:]
	}
	c.entries[key] = e
	c.order = append(c.order, key)
	go func() {
		defer close(e.done)
		if e.profile, e.err = compile(); e.err != nil {
			c.forget(key, e)
		}
	}()
	return e
}

func (c *Cache) forget(key [sha256.Size]byte, e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[key] == e {
		delete(c.entries, key)
		c.order = slices.DeleteFunc(c.order, func(k [sha256.Size]byte) bool { return k == key })
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
