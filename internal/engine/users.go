package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/record"
)

// Users of the host that only containers with users of their own have: ranges of
// 65,536 numbers between those that systemd-nspawn gives (systemd.io/UIDS-GIDS) and
// the end of what runtimes take.
const (
	UsersEach = 1 << 16

	firstRange, lastRange = 0x7000, 0x7ffd // of UsersEach
)

// users are the ranges that containers have.
type users struct {
	mu sync.Mutex
	by map[uint32]user // by the first number; nil: not looked up yet
}

// user is a container that has a range.
type user struct {
	id       string
	recorded bool // its record was found: when it is not any more, the container is gone
}

// TakeUsers gives a container a range of users that no other container of the engine
// has, by its first number, until the container is removed. Two programs over one
// containerd that ask at the same moment may be given the same, at odds of 1 to 4,000.
func (e *Engine) TakeUsers(ctx context.Context, id string) (first uint32, err error) {
	e.users.mu.Lock()
	defer e.users.mu.Unlock()
	if err := e.knowUsers(ctx); err != nil {
		return 0, err
	}
	const all = lastRange - firstRange + 1
	begin := rand.IntN(all)
	for n := range all {
		first := uint32(firstRange+(begin+n)%all) * UsersEach
		if _, taken := e.users.by[first]; !taken {
			e.users.by[first] = user{id: id}
			return first, nil
		}
	}
	return 0, fmt.Errorf("all %d ranges of users are other containers' (%w): remove some", all, errdefs.ErrUnavailable)
}

// knowUsers looks up which ranges containers have: once, unless other programs may make
// containers, and remove them.
func (e *Engine) knowUsers(ctx context.Context) error {
	if e.users.by != nil && e.Backend.Sole() {
		return nil
	}
	all, err := e.Client.ContainerService().List(ctx)
	if err != nil {
		return err
	}
	next := map[uint32]user{}
	for first, u := range e.users.by {
		if !u.recorded { // it is being made by this program
			next[first] = u
		}
	}
	for _, c := range all {
		if r, ok := record.Of(c); ok && r.Users != 0 {
			next[r.Users] = user{c.ID, true}
		}
	}
	e.users.by = next
	return nil
}

// usersPart is a container's range of users.
type usersPart struct{ e *Engine }

func (usersPart) String() string { return "users" }

// Remove implements Part.
func (p usersPart) Remove(_ context.Context, c containers.Container) error {
	p.e.users.mu.Lock()
	defer p.e.users.mu.Unlock()
	for first, u := range p.e.users.by {
		if u.id == c.ID {
			delete(p.e.users.by, first)
		}
	}
	return nil
}

// Orphans implements Part: none outlive the program but in a record.
func (usersPart) Orphans(context.Context) ([]string, error) { return nil, nil }
