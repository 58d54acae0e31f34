package services

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/pkg/gc"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containerd/plugin"
)

// gcDelay is how long after a deletion the collection begins: it takes the
// database's lock, and deletions come in bursts.
const gcDelay = 100 * time.Millisecond

// collector runs the metadata database's garbage collection after deletions.
// containerd's own scheduler would do, but its package adds metrics to the
// program's Prometheus registry and handlers to its HTTP server.
type collector struct {
	db      *metadata.DB
	before  func(context.Context) error   // drops what is kept for reuse; nil: nothing is kept
	after   []func(context.Context) error // does again what a snapshotter failed at, which the database does not
	busy    sync.Mutex                    // held by a collection
	pending atomic.Bool                   // something was deleted since the last collection began
	dirty   chan struct{}
	now     chan chan<- result
	life    context.Context
	end     context.CancelFunc
	ended   chan struct{}
}

type result struct {
	stats gc.Stats
	err   error
}

var gcPlugin = plugin.Registration{
	Type: plugins.GCPlugin,
	ID:   "scheduler",
	InitFn: func(ic *plugin.InitContext) (any, error) {
		db, err := instance[*metadata.DB](ic.Plugins(), plugins.MetadataPlugin, "bolt")
		if err != nil {
			return nil, err
		}
		c := &collector{
			db: db, dirty: make(chan struct{}, 1), now: make(chan chan<- result), ended: make(chan struct{}),
		}
		c.life, c.end = context.WithCancel(ic.Context)
		db.RegisterMutationCallback(func(deletion bool) {
			if !deletion {
				return
			}
			c.pending.Store(true)
			select {
			case c.dirty <- struct{}{}:
			default:
			}
		})
		go c.run()
		return c, nil
	},
}

func (c *collector) run() {
	defer close(c.ended)
	var soon <-chan time.Time // nil: nothing to collect
	for {
		select {
		case <-c.life.Done():
			return
		case <-c.dirty:
			// Counted from the first deletion: deletions may never pause.
			if soon == nil {
				soon = time.After(gcDelay)
			}
		case <-soon:
			soon = nil
			if r := c.collect(); r.err != nil {
				log.G(c.life).WithError(r.err).Error("garbage collection failed")
			}
		case answer := <-c.now:
			answer <- c.collect()
		}
	}
}

func (c *collector) collect() result {
	c.busy.Lock()
	defer c.busy.Unlock()
	c.pending.Store(false)
	ctx := context.WithoutCancel(c.life) // Close waits for it: otherwise half of the work would be left to the next Open
	if c.before != nil {
		if err := c.before(ctx); err != nil {
			log.G(c.life).WithError(err).Error("garbage collection is incomplete")
		}
	}
	s, err := c.db.GarbageCollect(ctx)
	for _, f := range c.after {
		err = errors.Join(err, f(ctx))
	}
	if err != nil {
		c.pending.Store(true)
	}
	return result{s, err}
}

// finish collects what was deleted and not collected yet. It must be done now:
// the list of what is left to collect is in memory only.
func (c *collector) finish() error {
	// A collection under way may be about to delete what is kept for reuse.
	c.busy.Lock()
	pending := c.pending.Load()
	c.busy.Unlock()
	if !pending {
		return nil
	}
	_, err := c.ScheduleAndWait(c.life)
	return err
}

// ScheduleAndWait collects now. containerd's lease manager calls it when a
// lease is deleted synchronously.
func (c *collector) ScheduleAndWait(ctx context.Context) (gc.Stats, error) {
	answer := make(chan result, 1)
	select {
	case c.now <- answer:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.ended:
		return nil, errdefs.ErrUnavailable
	}
	select {
	case r := <-answer:
		return r.stats, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close ends the collecting; the database may be closed after it.
func (c *collector) Close() error {
	c.end()
	<-c.ended
	return nil
}
