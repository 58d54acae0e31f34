package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"

	"github.com/ctorhq/ctor/internal/shim/link"
)

// A stranger is a detached shim that was left by a program of another version,
// and speaks another protocol. Its container runs, or has ended: nobody here can
// ask which, or knows what a request would mean to it. So it gets none. All that
// can be done with it is to end it.

// stranger keeps all requests from a shim.
func (s *Shim) stranger(socket string) ttrpc.UnaryClientInterceptor {
	protocol := strings.TrimSuffix(strings.TrimPrefix(socket, socketPrefix), socketSuffix)
	refusal := errgrpc.ToGRPC(fmt.Errorf("the program that made it was of another version: its shim speaks %s, and this program %s (%w): close it, or open the engine in a program of that version",
		link.Named(protocol), link.Named(link.Protocol), errdefs.ErrFailedPrecondition))
	return func(context.Context, *ttrpc.Request, *ttrpc.Response, *ttrpc.UnaryClientInfo, ttrpc.Invoker) error {
		select {
		case <-s.gone:
			return ttrpc.ErrClosed
		default:
			return refusal
		}
	}
}

// Evict kills a shim that can't be asked to delete its container, and leaves any
// other alone. It returns when the shim is gone.
func (s *Shim) Evict() error {
	if s.strange == "" {
		return nil
	}
	fail := func(err error) error {
		return fmt.Errorf("end the shim in %s: %w", s.strange, err)
	}
	log := filepath.Join(s.strange, Log)
	var errs []error
	for _, pid := range writers(log) {
		p, err := os.FindProcess(pid)
		if err == nil && slices.Contains(writers(log), pid) { // the number was not another's by then
			err = p.Kill()
			_ = p.Release()
		}
		if err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fail(err)
	}
	select {
	case <-s.gone:
		return nil
	case <-time.After(stopLimit):
		return fail(fmt.Errorf("it does not end, or its process was not found: %w", errdefs.ErrFailedPrecondition))
	}
}
