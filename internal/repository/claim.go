package repository

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// hold keeps content until it is ended, and ends with the engine at the latest.
type hold struct {
	s       *store
	id      string
	ctx     context.Context // with the lease
	release func(*error)
	once    sync.Once
	before  func() error // of the end; nil: nothing
}

// hold begins one that outlives ctx.
func (s *store) hold(ctx context.Context) (*hold, error) {
	ctx, release, err := s.e.Lease(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	h := &hold{s: s, id: "registry " + rand.Text(), ctx: ctx, release: release}
	if err := s.e.Attach(h.id, h); err != nil {
		release(&err)
		return nil, err
	}
	return h, nil
}

// Close ends the hold. What else keeps nothing is removed, sooner or later.
func (h *hold) Close() (err error) {
	h.once.Do(func() {
		h.s.e.Forget(h.id, h)
		if h.before != nil {
			err = h.before()
		}
		var failed error
		h.release(&failed)
		err = errors.Join(err, failed)
	})
	return err
}

// claimKey is a blob in the repository of a name.
type claimKey struct {
	name   string
	digest digest.Digest
}

// claim is a blob that waits for its manifest.
type claim struct {
	*hold
	timer *time.Timer
}

// claim keeps what h holds for a repository until a manifest lists it, or until
// it has waited too long.
func (s *store) claim(k claimKey, h *hold) error {
	c := &claim{hold: h}
	s.mu.Lock()
	old := s.claims[k]
	if old == nil && len(s.claims) >= s.most {
		s.mu.Unlock()
		err := fmt.Errorf("%d blobs wait for their manifests: %w", s.most, errdefs.ErrResourceExhausted)
		return errors.Join(err, h.Close())
	}
	s.claims[k] = c
	c.timer = time.AfterFunc(s.wait, func() { _ = s.drop(k, c) }) // owed by the engine, if it fails
	s.mu.Unlock()
	return old.end()
}

// claimed tells whether a blob waits in a repository.
func (s *store) claimed(k claimKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claims[k] != nil
}

// waiting tells whether any blob does.
func (s *store) waiting(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.claims {
		if k.name == name {
			return true
		}
	}
	return false
}

// drop ends a blob's waiting, or that of c alone.
func (s *store) drop(k claimKey, c *claim) error {
	s.mu.Lock()
	there := s.claims[k]
	if there == nil || c != nil && there != c {
		s.mu.Unlock()
		return nil
	}
	delete(s.claims, k)
	s.mu.Unlock()
	return there.end()
}

func (c *claim) end() error {
	if c == nil {
		return nil
	}
	c.timer.Stop()
	return c.Close()
}
