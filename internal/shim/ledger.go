package shim

import (
	"context"
	"errors"
	"os"
	"sync"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// ledger keeps account of the containers of a task service, so that they can
// be undone when the program is gone.
type ledger struct {
	taskapi.TTRPCTaskService

	// Creates hold it for reading: undo begins when none is in flight.
	creating sync.RWMutex
	mu       sync.Mutex
	bundles  map[entry]string
}

type entry struct{ namespace, id string }

func newLedger(s taskapi.TTRPCTaskService) *ledger {
	return &ledger{TTRPCTaskService: s, bundles: map[entry]string{}}
}

func (l *ledger) Create(ctx context.Context, r *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	l.creating.RLock()
	defer l.creating.RUnlock()
	resp, err := l.TTRPCTaskService.Create(ctx, r)
	if err == nil {
		ns, _ := namespaces.Namespace(ctx)
		l.mu.Lock()
		l.bundles[entry{ns, r.ID}] = r.Bundle
		l.mu.Unlock()
	}
	return resp, err
}

func (l *ledger) Delete(ctx context.Context, r *taskapi.DeleteRequest) (*taskapi.DeleteResponse, error) {
	resp, err := l.TTRPCTaskService.Delete(ctx, r)
	if err == nil && r.ExecID == "" {
		ns, _ := namespaces.Namespace(ctx)
		l.mu.Lock()
		delete(l.bundles, entry{ns, r.ID})
		l.mu.Unlock()
	}
	return resp, err
}

// undo kills and deletes every container, all at once. No container is made
// after it.
func (l *ledger) undo(ctx context.Context) error {
	l.creating.Lock()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for e, bundle := range l.bundles {
		wg.Go(func() {
			if err := l.undoOne(namespaces.WithNamespace(ctx, e.namespace), e.id, bundle); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (l *ledger) undoOne(ctx context.Context, id, bundle string) error {
	_, err := l.Kill(ctx, &taskapi.KillRequest{ID: id, Signal: uint32(unix.SIGKILL), All: true})
	if err == nil {
		_, _ = l.Wait(ctx, &taskapi.WaitRequest{ID: id})
	}
	if _, err := l.Delete(ctx, &taskapi.DeleteRequest{ID: id}); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return os.RemoveAll(bundle)
}
