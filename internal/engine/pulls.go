package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// pullLabel marks the leases of pulls, with what is pulled. What a pull has
// brought when it fails, or is killed, waits for the next one.
const pullLabel = "io.ctor.pull"

// PullLease is Lease for a pull. keep, which is asked when the pull has failed,
// tells whether what has arrived is to stay: for a day, or until a pull of the same
// name succeeds. Snapshots that are not committed never stay.
func (e *Engine) PullLease(ctx context.Context, name string, keep func(error) bool) (_ context.Context, release func(*error), err error) {
	id := rand.Text()
	e.pulls.begin(id) // before others can find it
	ctx, drop, err := e.lease(ctx, id, map[string]string{pullLabel: name})
	if err != nil {
		e.pulls.end(id)
		return nil, nil, err
	}
	return ctx, func(err *error) {
		defer e.pulls.end(id)
		if *err != nil && keep(*err) {
			return
		}
		if drop(err); *err == nil {
			*err = e.forgetPulls(ctx, name)
		}
	}, nil
}

// forgetPulls lets go of what earlier pulls of a name have brought.
func (e *Engine) forgetPulls(ctx context.Context, name string) error {
	ctx, cancel := e.Cleanup(ctx)
	defer cancel()
	list, err := e.BrokenPulls(ctx)
	if err != nil {
		return fmt.Errorf("forget earlier pulls: %w", err)
	}
	m := e.Client.LeasesService()
	var errs []error
	for _, l := range list {
		if l.Labels[pullLabel] != name {
			continue
		}
		if err := m.Delete(ctx, leases.Lease{ID: l.ID}); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("forget an earlier pull: %w", err))
		}
	}
	return errors.Join(errs...)
}

// BrokenPulls lists the leases of pulls that were cut off: they keep what has
// arrived for the next one. Those under way are not among them.
func (e *Engine) BrokenPulls(ctx context.Context) (broken []leases.Lease, err error) {
	list, err := e.Client.LeasesService().List(ctx, fmt.Sprintf("labels.%q", pullLabel))
	for _, l := range list {
		owner := l.Labels[leaseLabel]
		if !e.pulls.has(l.ID) && (owner == Owner() || e.orphan(owner)) {
			broken = append(broken, l)
		}
	}
	return broken, err
}

// cutOff removes the snapshots that a pull had half made when it was killed.
func (e *Engine) cutOff(ctx context.Context, l leases.Lease) error {
	m := e.Client.LeasesService()
	list, err := m.ListResources(ctx, l)
	if err != nil {
		return fmt.Errorf("sweep lease %s: %w", l.ID, err)
	}
	var errs []error
	for _, r := range list {
		name, ok := strings.CutPrefix(r.Type, "snapshots/")
		if !ok || !e.Backend.Reaches(name) {
			continue
		}
		sn := e.Client.SnapshotService(name)
		i, err := sn.Stat(ctx, r.ID)
		if err == nil && i.Kind != snapshots.KindCommitted {
			err = sn.Remove(ctx, r.ID)
		}
		if err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("sweep snapshot %s: %w", r.ID, err))
		}
	}
	return errors.Join(errs...)
}

// young tells of a pull's lease whether what it keeps is still of use. The
// collector drops it when it is not; but a clock may have been wrong.
func young(l leases.Lease) bool {
	return l.Labels[pullLabel] != "" && time.Since(l.CreatedAt) < leaseTime
}

// pulls are those under way, by their leases. The zero value is ready.
type pulls struct {
	mu  sync.Mutex
	all map[string]struct{}
}

func (p *pulls) begin(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[string]struct{}{}
	}
	p.all[id] = struct{}{}
}

func (p *pulls) end(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, id)
}

func (p *pulls) has(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.all[id]
	return ok
}
