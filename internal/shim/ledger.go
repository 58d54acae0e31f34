package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"golang.org/x/sys/unix"
)

// ledger keeps account of the containers of a task service, so that they can
// be undone when the program is gone.
type ledger struct {
	taskapi.TTRPCTaskService

	// Creates and Deletes hold it for reading: undo begins when none is in
	// flight.
	changing sync.RWMutex

	mu      sync.Mutex
	undoing bool
	making  map[*taskapi.CreateTaskRequest]bool // in flight
	bundles map[entry]string
}

type entry struct{ namespace, id string }

func newLedger(s taskapi.TTRPCTaskService) *ledger {
	return &ledger{
		TTRPCTaskService: s,
		making:           map[*taskapi.CreateTaskRequest]bool{}, bundles: map[entry]string{},
	}
}

func (l *ledger) Create(ctx context.Context, r *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	l.changing.RLock()
	defer l.changing.RUnlock()
	l.mu.Lock()
	if l.undoing {
		l.mu.Unlock()
		return nil, errgrpc.ToGRPC(fmt.Errorf("the shim is ending: %w", errdefs.ErrUnavailable))
	}
	l.making[r] = true
	l.mu.Unlock()
	// When the connection closes ctx ends, and runc would be killed half-way.
	resp, err := l.TTRPCTaskService.Create(context.WithoutCancel(ctx), r)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.making, r)
	if err == nil {
		ns, _ := namespaces.Namespace(ctx)
		l.bundles[entry{ns, r.ID}] = r.Bundle
	}
	return resp, err
}

func (l *ledger) Delete(ctx context.Context, r *taskapi.DeleteRequest) (*taskapi.DeleteResponse, error) {
	l.changing.RLock()
	defer l.changing.RUnlock()
	return l.delete(context.WithoutCancel(ctx), r)
}

func (l *ledger) delete(ctx context.Context, r *taskapi.DeleteRequest) (*taskapi.DeleteResponse, error) {
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
	for _, f := range l.hurry() {
		defer f.Close()
	}
	l.changing.Lock()
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

// hurry lets no further create begin, and those in flight not wait for the
// program to open its end of their fifos: it opens them itself.
func (l *ledger) hurry() (open []*os.File) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.undoing = true
	for r := range l.making {
		for _, path := range []string{r.Stdout, r.Stderr} {
			if st, err := os.Lstat(path); err != nil || st.Mode()&os.ModeNamedPipe == 0 {
				continue
			}
			// Reading and writing, it does not wait either.
			if f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0); err == nil {
				open = append(open, f)
			}
		}
	}
	return open
}

func (l *ledger) undoOne(ctx context.Context, id, bundle string) error {
	_, err := l.Kill(ctx, &taskapi.KillRequest{ID: id, Signal: uint32(unix.SIGKILL), All: true})
	if err == nil {
		_, _ = l.Wait(ctx, &taskapi.WaitRequest{ID: id})
	}
	if _, err := l.delete(ctx, &taskapi.DeleteRequest{ID: id}); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return os.RemoveAll(bundle)
}
