package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/gc"
	"github.com/containerd/platforms"
	"github.com/moby/buildkit/cache/metadata"
	"github.com/moby/buildkit/session"
	containerdsnapshot "github.com/moby/buildkit/snapshot/containerd"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/bboltcachestorage"
	"github.com/moby/buildkit/util/leaseutil"
	"github.com/moby/buildkit/worker"
	"github.com/moby/buildkit/worker/base"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/unwind"
)

// builder is BuildKit over one engine. There is one as long as the engine is open,
// from the first build on: all builds share its cache.
type builder struct {
	e        *ctor.Engine
	in       *engine.Engine
	sessions *session.Manager
	worker   *hand
	commands *commands
	workers  worker.Controller
	keys     solver.CacheManager
	undo     unwind.Stack

	// Builds have turns together, and what looks through the cache has one alone:
	// BuildKit holds what it looks at, so that a build would make another
	// directory instead of the one of its RUN --mount=type=cache.
	turns *turns

	life  context.Context // ends with Close
	stop  context.CancelFunc
	tasks sync.WaitGroup // in the background

	mu     sync.Mutex
	closed bool
	builds map[string]*solving // under way, by their session
	asked  map[string]time.Time
	sweeps bool // the cache is being pruned
}

// builderID is what the builder of an engine is attached by. No container has such
// an id.
const builderID = "builder"

// opening lets one builder of an engine be made at a time.
var opening sync.Mutex

// builderOf gives the builder of an engine.
func builderOf(e *ctor.Engine) (*builder, error) {
	in := engine.Of(e)
	if !in.Backend.Sole() {
		return nil, fmt.Errorf("a build needs an engine of ctor.Open: what it leaves in the cache must be no other program's (%w)", ctor.ErrInvalid)
	}
	opening.Lock()
	defer opening.Unlock()
	if b, ok := in.Attached(builderID).(*builder); ok {
		return b, nil
	}
	b, err := newBuilder(e, in)
	if err != nil {
		return nil, fmt.Errorf("start builder: %w", err)
	}
	if err := in.Attach(builderID, b); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func newBuilder(e *ctor.Engine, in *engine.Engine) (_ *builder, err error) {
	b := &builder{e: e, in: in, turns: newTurns(), builds: map[string]*solving{}, asked: map[string]time.Time{}}
	b.life, b.stop = context.WithCancel(in.Context(context.Background()))
	defer b.undo.OnError(&err)
	b.undo.Push(func() error { b.stop(); return nil })
	dir := filepath.Join(e.Root(), "build")
	// Files of commands are where those of containers are: so the next Open removes
	// what a killed program leaves of them.
	b.commands = &commands{e: e, in: in, dir: in.Dir(""), turns: newTurns()}
	for _, d := range []string{dir, b.commands.dir} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	if b.sessions, err = session.NewManager(); err != nil {
		return nil, err
	}
	if err := b.newWorker(dir); err != nil {
		return nil, err
	}
	return b, b.newKeys(dir)
}

// newWorker makes what does the work.
func (b *builder) newWorker(dir string) error {
	client := b.in.Client
	id, err := base.ID(dir)
	if err != nil {
		return err
	}
	md, err := metadata.NewStore(filepath.Join(dir, "metadata.v2.db"))
	if err != nil {
		return err
	}
	lm := leaseutil.WithNamespace(lessor{client.LeasesService()}, b.in.Namespace)
	w, err := base.NewWorker(b.life, base.WorkerOpt{
		ID:            id,
		Root:          dir,
		Labels:        map[string]string{},
		Platforms:     []ocispec.Platform{platforms.Normalize(platforms.DefaultSpec())},
		GCPolicy:      policy(dir),
		Executor:      b.commands,
		Snapshotter:   newStore(b.in),
		ContentStore:  containerdsnapshot.NewContentStore(client.ContentStore(), b.in.Namespace),
		Applier:       differ{client.DiffService(), b.in},
		Differ:        differ{client.DiffService(), b.in},
		ImageStore:    named{client.ImageService(), b.in},
		RegistryHosts: nowhere,
		LeaseManager:  lm,
		GarbageCollect: func(ctx context.Context) (gc.Stats, error) {
			l, err := lm.Create(ctx, leases.WithRandomID())
			if err != nil {
				return nil, err
			}
			return nil, lm.Delete(ctx, l, leases.SynchronousDelete)
		},
		MetadataStore: md,
		MountPoolRoot: filepath.Join(dir, "mounts"),
	})
	if err != nil {
		return errors.Join(err, md.Close())
	}
	b.undo.Close(w)
	b.undo.Push(func() error { return forgetHashes(md) })
	b.worker = &hand{Worker: w, b: b}
	return b.worker.sources()
}

// newKeys makes what remembers which step has led to what.
func (b *builder) newKeys(dir string) error {
	storage, err := bboltcachestorage.NewStore(filepath.Join(dir, "cache.db"))
	if err != nil {
		return err
	}
	b.undo.Close(storage)
	if err := b.workers.Add(b.worker); err != nil {
		return err
	}
	b.keys = solver.NewCacheManager(b.life, "local", storage, worker.NewCacheResultStorage(&b.workers))
	return nil
}

// Close ends the builder. No build is under way: they are calls on the engine.
func (b *builder) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.stop()
	b.tasks.Wait()
	b.in.Forget(builderID, b)
	return b.undo.Run()
}

// begin notes a build that is under way.
func (b *builder) begin(session string, s *solving) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.builds[session] = s
}

// end forgets it.
func (b *builder) end(session string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.builds, session)
}

// buildOf gives one of the builds that a step is for.
func (b *builder) buildOf(g session.Group) (*solving, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range session.AllSessionIDs(g) {
		if s := b.builds[id]; s != nil {
			return s, nil
		}
	}
	return nil, errors.New("a step that belongs to no build")
}

// pulled tells whether an image was asked for a moment ago.
func (b *builder) pulled(_ context.Context, ref, platform string) bool {
	const moment = 10 * time.Second
	b.mu.Lock()
	defer b.mu.Unlock()
	key := platform + " " + ref
	was := b.asked[key]
	for k, t := range b.asked {
		if time.Since(t) > moment {
			delete(b.asked, k)
		}
	}
	if time.Since(was) < moment {
		return true
	}
	b.asked[key] = time.Now()
	return false
}
