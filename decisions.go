package ctor

import (
	"context"
	"fmt"
	"iter"
	"runtime"

	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/engine"
)

// MissedDecisions is the error that stands for decisions which came faster than their
// reader read: how many they were. Those after it follow.
type MissedDecisions int

// Error says how many they are.
func (m MissedDecisions) Error() string {
	return fmt.Sprintf("%d decisions of ways out were dropped before they were read", int(m))
}

// Decisions gives what the ways out of the engine's containers decide, from the time
// of the call on: each connection and lookup with its verdict, and the end of each
// connection with the bytes that it has carried, as [egress.Watch] tells of them for
// one Dialer. It can be read once; what is never read ends when the program has dropped
// it. A container has to wait for no reader: up to 1,024
// decisions wait for each, and then a reader gets a MissedDecisions. The last error is
// that of ctx, or ErrClosed when the engine is closed.
//
// Decisions are not among Events, which are kept: a container makes as many of them as
// it likes. Those of a detached container's way out, which another process makes, are
// not told, nor what [network.Config.Masquerade] lets pass.
//
// [network.Config.Masquerade]: https://pkg.go.dev/github.com/ctorhq/ctor/network#Config
func (e *Engine) Decisions(ctx context.Context) iter.Seq2[egress.Decision, error] {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(e.in.Life(), func() { cancel(engine.ErrClosed) })
	context.AfterFunc(ctx, func() { stop() })
	reader := &struct {
		all iter.Seq2[egress.Decision, int]
	}{e.in.Decisions.Read(ctx)}
	runtime.AddCleanup(reader, func(end context.CancelCauseFunc) { end(nil) }, cancel)
	return func(yield func(egress.Decision, error) bool) {
		defer cancel(nil)
		for decision, missed := range reader.all {
			var err error
			if missed > 0 {
				err = MissedDecisions(missed)
			}
			if !yield(decision, err) {
				return
			}
		}
		yield(egress.Decision{}, fmt.Errorf("decisions: %w", context.Cause(ctx)))
	}
}
