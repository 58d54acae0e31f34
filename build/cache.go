package build

import (
	"context"
	"fmt"
	"time"

	"github.com/moby/buildkit/client"
	"golang.org/x/sys/unix"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
)

// The cache may take a tenth of the disk that the engine's root is on, and no more
// than 20 GiB. Of that, copies of contexts and the directories of RUN
// --mount=type=cache go first, when they have not been used for two days.
const (
	cacheShare = 10
	cacheMost  = 20 << 30
	soon       = 48 * time.Hour
)

// policy is what goes of the cache by itself.
func policy(dir string) []client.PruneInfo {
	most := int64(cacheMost)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err == nil {
		most = min(most, int64(st.Blocks)*st.Bsize/cacheShare)
	}
	return []client.PruneInfo{
		{Filter: []string{"type==source.local,type==exec.cachemount,type==source.git.checkout"}, KeepDuration: soon, MaxUsedSpace: most / 4},
		{MaxUsedSpace: most},
		{All: true, MaxUsedSpace: most},
	}
}

// PruneOptions change how Prune works. nil is the zero value, which removes all that
// no build uses.
type PruneOptions struct {
	// Keep is how many bytes may stay: the least recently used goes until the rest
	// is within it.
	Keep int64

	// Unused keeps what was used within that time.
	Unused time.Duration
}

// Prune removes what earlier builds have left in the cache, and gives the number of
// bytes that were in it. Images stay, with their layers. It waits until no build is
// under way, and builds wait for it.
func Prune(ctx context.Context, e *ctor.Engine, o *PruneOptions) (freed int64, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("prune build cache: %w", err)
		}
	}()
	if o == nil {
		o = &PruneOptions{}
	}
	if o.Keep < 0 || o.Unused < 0 {
		return 0, fmt.Errorf("negative Keep or Unused (%w)", ctor.ErrInvalid)
	}
	ctx, leave, err := engine.Of(e).Enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	b, err := builderOf(e)
	if err != nil {
		return 0, err
	}
	info := client.PruneInfo{All: true, KeepDuration: o.Unused, MaxUsedSpace: o.Keep}
	freed, err = b.prune(ctx, info)
	return freed, engine.Cause(ctx, err)
}

// Usage is how many bytes the cache has. It waits as Prune does.
func Usage(ctx context.Context, e *ctor.Engine) (_ int64, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("usage of build cache: %w", err)
		}
	}()
	ctx, leave, err := engine.Of(e).Enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	b, err := builderOf(e)
	if err != nil {
		return 0, err
	}
	end, err := b.turns.take(ctx, theCache, true)
	if err != nil {
		return 0, engine.Cause(ctx, err)
	}
	defer end()
	list, err := b.worker.DiskUsage(ctx, client.DiskUsageInfo{})
	var total int64
	for _, u := range list {
		total += u.Size
	}
	return total, engine.Cause(ctx, err)
}

// theCache is what turns are of.
const theCache = "cache"

func (b *builder) prune(ctx context.Context, infos ...client.PruneInfo) (freed int64, err error) {
	end, err := b.turns.take(ctx, theCache, true)
	if err != nil {
		return 0, err
	}
	defer end()
	gone := make(chan client.UsageInfo)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for u := range gone {
			freed += u.Size
		}
	}()
	err = b.worker.Prune(ctx, gone, infos...)
	close(gone)
	<-done
	if err == nil && freed > 0 {
		err = b.keys.ReleaseUnreferenced(ctx)
	}
	return freed, err
}

// sweep has the cache brought within its limit, in the background, unless that is
// under way.
func (b *builder) sweep() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sweeps || b.closed {
		return
	}
	b.sweeps = true
	b.tasks.Go(func() {
		_, _ = b.prune(b.life, b.worker.GCPolicy()...) // an error: the next build tries again
		b.mu.Lock()
		defer b.mu.Unlock()
		b.sweeps = false
	})
}
