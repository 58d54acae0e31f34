package build

import (
	"os"
	"sync"
	"sync/atomic"

	"github.com/moby/buildkit/cmd/buildkitd/config"
	containerdsnapshot "github.com/moby/buildkit/snapshot/containerd"
	"github.com/moby/buildkit/solver/llbsolver/history"
	"github.com/moby/buildkit/util/leaseutil"
	bolt "go.etcd.io/bbolt"
)

// noHistory is BuildKit's record of past builds, which its solver can't do without,
// and which keeps nothing here. Each one has a goroutine that never ends: so all
// builders of the program share one.
var noHistory = sync.OnceValues(func() (*history.Queue, error) {
	const nowhere = "none"
	none := int64(0)
	db := &noDB{}
	stopped := make(chan struct{})
	close(stopped)
	q, err := history.NewQueue(history.QueueOpt{
		DB:           db,
		LeaseManager: leaseutil.WithNamespace(nil, nowhere),
		ContentStore: containerdsnapshot.NewContentStore(nil, nowhere),
		CleanConfig:  &config.HistoryConfig{MaxEntries: &none},
		GracefulStop: stopped,
	})
	db.made.Store(true)
	return q, err
})

// noDB is a database without anything in it.
type noDB struct {
	made atomic.Bool // the queue is made: from then on it is asked for records
}

func (d *noDB) View(func(*bolt.Tx) error) error {
	if d.made.Load() {
		return os.ErrNotExist
	}
	return nil
}

func (*noDB) Update(func(*bolt.Tx) error) error { return nil }
