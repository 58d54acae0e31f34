package task

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/journal"
	"github.com/ctorhq/ctor/internal/restart"
	"github.com/ctorhq/ctor/internal/shim/link"
)

// mandate is what the shim of a container that outlives its program needs to start
// it again. The journal is where a program that is there says that it stopped the
// container, and what it and the shim take turns by.
type mandate struct {
	policy  restart.Policy
	journal *journal.Journal
}

// mandateOf reads what a create request's options say (link.RestartType). The
// journal is beside the log.
func mandateOf(value []byte, p paths) (*mandate, error) {
	log, _, err := link.ParseLogURI(p.out)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(string(value))
	if err != nil || !restart.Policy(n).Valid() {
		return nil, fmt.Errorf("restart policy %.20q: %w", value, errdefs.ErrInvalidArgument)
	}
	return &mandate{restart.Policy(n), journal.At(filepath.Dir(log))}, nil
}

// keep begins the next lives of a container, as long as the service has it.
func (s *Service) keep(c *container, o order) {
	var pauses restart.Pauses
	for last := (*container)(nil); c != nil; last, c = c, s.revive(c, o) {
		<-c.init.exited
		lived := time.Duration(0) // of a life that did not begin
		if c != last && !c.stillborn {
			life, exit := o.mandate.journal.Read(), c.lastExit()
			if o.mandate.journal.Ended(life.Lives, exit) != nil {
				return // the container is gone
			}
			lived = exit.At.Sub(life.Started)
		}
		select {
		case <-time.After(pauses.After(lived)):
		case <-s.ending.Done():
			return
		}
	}
}

// revive begins the next life of a container that has ended, if that is wanted, and
// gives what is to be looked after from now on: nil is nothing any more, and c that
// it could not be started, which counts as a life that failed.
func (s *Service) revive(c *container, o order) *container {
	ctx := namespaces.WithNamespace(context.Background(), o.namespace)
	j := o.mandate.journal
	if !o.mandate.policy.Wants(j.Read()) { // asked without the lock: a caller may need it for a start
		return nil
	}
	unlock, err := j.Lock(s.ending)
	if errdefs.IsNotFound(err) || errors.Is(err, journal.ErrBusy) {
		return nil // the container is gone, or the shim is ending
	}
	if err != nil {
		return c
	}
	defer unlock()
	c.deleting.Lock()
	defer c.deleting.Unlock()
	if !o.mandate.policy.Wants(j.Read()) || !s.takeBack(c, o.key) {
		return nil
	}
	next, err := s.nextLife(ctx, c, o)
	s.settle(o.key, c, next)
	if err != nil {
		_, _ = j.Change((*journal.Past).Count)
		return c
	}
	go s.watch(next, next.init)
	undo, err := j.Begin(time.Now(), "")
	if err == nil {
		if _, err = s.Start(ctx, &taskapi.StartRequest{ID: o.id}); err != nil {
			undo()
		}
	}
	if err != nil {
		next.stillborn = true
		_, _ = j.Change((*journal.Past).Count)
		_ = next.kill("", killSignal, true) // an error: it has ended
	}
	return next
}

// lastExit is how the first process has ended.
func (c *container) lastExit() journal.Exit {
	e := journal.Exit{OOMKilled: c.cgroup().OOMKills() > 0}
	c.init.mu.Lock()
	defer c.init.mu.Unlock()
	e.Code, e.At = int(c.init.status), c.init.at
	return e
}

// takeBack takes the id of a container that has ended for its next life, unless it
// was deleted meanwhile.
func (s *Service) takeBack(c *container, k key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.containers[k] != c {
		return false
	}
	s.containers[k] = nil
	s.creates.Add(1)
	return true
}

// settle ends what takeBack began. next is nil where there is none.
func (s *Service) settle(k key, c, next *container) {
	defer s.creates.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	if next == nil {
		next = c
	}
	s.containers[k] = next
}

// nextLife makes the container of the next life, with c.deleting held.
func (s *Service) nextLife(ctx context.Context, c *container, o order) (*container, error) {
	if _, err := o.mandate.journal.Change(func(p *journal.Past) { p.Due = true }); err != nil {
		return nil, err
	}
	if !c.deleted {
		if err := c.delete(ctx); err != nil {
			return nil, err
		}
	}
	return s.newContainer(ctx, o)
}
