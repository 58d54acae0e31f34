package life

import (
	"context"
	"syscall"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
)

// Stop says how a container is asked to end.
type Stop struct {
	Signal   syscall.Signal
	Patience time.Duration    // after it, until it is killed; 0 or less: it is at once
	Gone     func(error) bool // as Asked has it
}

// Do stops the container whose first process is p, and that is in a life. It returns when
// that has ended, or ctx has.
func (s Stop) Do(ctx context.Context, p Process, l Life) error {
	now, err := l.Status(ctx)
	if err != nil || now.Ended() || now.State == containerd.Created && now.Pid == 0 {
		return err
	}
	ended := Ended(ctx, l)
	// A process that was only created has no handler for anything.
	if s.Patience > 0 && now.State != containerd.Created {
		if err := p.Signal(ctx, s.Signal); err != nil && !s.Gone(err) {
			return err
		}
		if err := s.thaw(ctx, p, l, now); err != nil {
			return err
		}
		t := time.NewTimer(s.Patience)
		defer t.Stop()
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	// A process that is gone has ended, which is soon known.
	if err := p.Signal(ctx, syscall.SIGKILL); err != nil && !s.Gone(err) {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// thaw lets a container go on that was paused. Another caller may do so first.
func (s Stop) thaw(ctx context.Context, p Process, l Life, was Status) error {
	if !was.Frozen() {
		return nil
	}
	err := p.Resume(ctx)
	if err == nil || s.Gone(err) {
		return nil
	}
	if now, serr := l.Status(ctx); serr != nil || now.Frozen() {
		return err
	}
	return nil
}
