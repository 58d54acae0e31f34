package restart

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/journal"
)

// A Mender begins the next lives of one container by its policy, in this program, and
// knows which begin elsewhere: those of a detached container are its shim's. How a life
// begins is its caller's business.
type Mender struct {
	Policy  Policy
	Journal *journal.Journal // of the container's lives

	mu     sync.Mutex
	pauses Pauses
}

func (m *Mender) pause(lived time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pauses.After(lived)
}

// wants tells whether the container is to live again.
func (m *Mender) wants() bool { return m.Policy.Wants(m.Journal.Read()) }

// Mend begins the next life, when it is time, if that is wanted. lived is how long the
// last one was. An error of revive means that the next life could not begin, which
// counts as a life of no length; nil, that it has begun or that none is to.
func (m *Mender) Mend(ctx context.Context, lived time.Duration, revive func() error) {
	for m.wants() {
		select {
		case <-time.After(m.pause(lived)):
		case <-ctx.Done():
			return
		}
		if revive() == nil {
			return
		}
		lived = 0
	}
}

// Revive begins the next life now, if one is wanted and may: that is asked while no other
// caller or program begins one, or removes the container. An error means that it could
// not begin, which is written down as a life.
func (m *Mender) Revive(ctx context.Context, may func() bool, begin func() error) error {
	unlock, err := m.Journal.Lock(ctx)
	if errdefs.IsNotFound(err) || errors.Is(err, journal.ErrBusy) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	if !may() || !m.wants() {
		return nil
	}
	if _, err := m.Journal.Change(func(p *journal.Past) { p.Due = true }); err != nil {
		return err
	}
	if err := begin(); err != nil {
		_, _ = m.Journal.Change((*journal.Past).Count)
		return err
	}
	return nil
}

// Halt keeps policies from starting the container, and waits for a start that is under
// way.
func (m *Mender) Halt(ctx context.Context) error {
	if m.Policy == No {
		return nil
	}
	unlock, err := m.Journal.Lock(ctx)
	if errdefs.IsNotFound(err) {
		return nil // it was removed
	}
	if err != nil {
		return errors.Join(ctx.Err(), err)
	}
	defer unlock()
	_, err = m.Journal.Change(func(p *journal.Past) { p.Stopped = true })
	return err
}

// Wanted notes that a caller starts the container: what policies have counted is
// over. undo takes that back.
func (m *Mender) Wanted() (undo func(), err error) {
	if was := m.Journal.Read(); !was.Stopped && !was.Due && was.Restarts == 0 {
		return func() {}, nil
	}
	return m.Journal.Change(func(p *journal.Past) { p.Stopped, p.Restarts, p.Due = false, 0, false })
}

// Pending tells whether a container whose life of that number has ended so has begun
// another meanwhile, or is going to, by its policy.
func (m *Mender) Pending(number int, e journal.Exit) bool {
	past := m.Journal.Read()
	return past.Due || past.Lives > number || m.Policy.Wants(past.Ended(e))
}

// How often it is looked whether the shim of a container has begun the next life. It
// never does sooner than in a tenth of a second, and waits longer after each that failed.
const (
	firstLook = 20 * time.Millisecond
	lastLook  = time.Second
)

// Follow waits until the container's shim has begun the life after that of a number,
// which has ended so. false: it begins none, or ctx ends before.
func (m *Mender) Follow(ctx context.Context, number int, e journal.Exit) bool {
	for look := firstLook; m.Journal.Read().Lives == number; look = min(2*look, lastLook) {
		if !m.Pending(number, e) {
			return false
		}
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return false
		}
	}
	return true
}
