package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/log"
	"github.com/stretchr/testify/require"
)

func newEngine() *Engine {
	e := &Engine{Namespace: "test", Root: "/root", Files: "/root/files"}
	e.Init()
	return e
}

func TestEnter(t *testing.T) {
	e := newEngine()
	ctx, leave, err := e.Enter(t.Context())
	require.NoError(t, err)
	ns, err := namespaces.NamespaceRequired(ctx)
	require.NoError(t, err)
	require.Equal(t, "test", ns)
	require.NoError(t, ctx.Err())
	leave()
	require.ErrorIs(t, ctx.Err(), context.Canceled, "what the call has started ends with it")

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = e.Enter(ended)
	require.ErrorIs(t, err, context.Canceled)

	first, err := e.Shut()
	require.NoError(t, err)
	require.True(t, first, "no call is left, not even the one that could not begin")
	first, err = e.Shut()
	require.NoError(t, err)
	require.False(t, first)
	_, _, err = e.Enter(t.Context())
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, e.Attach("id", nil), ErrClosed)
	require.ErrorIs(t, context.Cause(e.Life()), ErrClosed)
	require.True(t, e.Closed())
}

// Shut ends calls under way and waits for them.
func TestShut(t *testing.T) {
	e := newEngine()
	var ended bool
	ctx, leave, err := e.Enter(t.Context())
	require.NoError(t, err)
	go func() {
		<-ctx.Done()
		ended = true
		leave()
	}()
	_, err = e.Shut()
	require.NoError(t, err)
	require.True(t, ended)
	require.ErrorIs(t, Cause(ctx, ctx.Err()), ErrClosed)
}

// A call that is stuck in the program's own code does not keep Close.
func TestShutIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine()
		closed := false
		require.NoError(t, e.Attach("c", attached(func() error { closed = true; return nil })))
		_, leave, err := e.Enter(t.Context())
		require.NoError(t, err)
		begin := time.Now()
		_, err = e.Shut()
		require.ErrorContains(t, err, "calls are still under way after 10s")
		require.Equal(t, patience, time.Since(begin))
		require.True(t, closed, "the rest is done all the same")
		leave()
	})
}

type attached func() error

func (a attached) Close() error { return a() }

func TestShutAttached(t *testing.T) {
	e := newEngine()
	stuck := errors.New("stuck")
	var all sync.WaitGroup // they are closed at once, and each waits for the others
	all.Add(3)
	for n := range 3 {
		require.NoError(t, e.Attach(fmt.Sprint(n), attached(func() error {
			all.Done()
			all.Wait()
			if n == 1 {
				return stuck
			}
			return nil
		})))
	}
	_, err := e.Shut()
	require.ErrorIs(t, err, stuck)
	require.EqualError(t, err, "close container 1: stuck")
}

func TestAttached(t *testing.T) {
	e := newEngine()
	one, two := new(closable), new(closable)
	require.NoError(t, e.Attach("id", one))
	require.Same(t, one, e.Attached("id"))
	e.Forget("id", two)
	require.Same(t, one, e.Attached("id"), "a later one of that name is somebody else")
	e.Forget("id", one)
	require.Nil(t, e.Attached("id"))
}

type closable struct{ _ int }

func (*closable) Close() error { return nil }

func TestCause(t *testing.T) {
	broken := errors.New("broken")
	live := t.Context()
	cancelled, cancel := context.WithCancel(live)
	cancel()
	late, cancel := context.WithDeadline(live, time.Unix(0, 0))
	defer cancel()
	closed, end := context.WithCancelCause(live)
	end(ErrClosed)
	both, end := context.WithCancelCause(cancelled) // the context was first
	end(ErrClosed)
	for name, test := range map[string]struct {
		ctx   context.Context
		err   error
		is    []error
		isNot []error
	}{
		"no error":             {cancelled, nil, nil, []error{context.Canceled}},
		"error of its own":     {live, broken, []error{broken}, []error{context.Canceled}},
		"cancelled":            {cancelled, broken, []error{context.Canceled, broken}, []error{ErrClosed}},
		"cancelled, and says":  {cancelled, context.Canceled, []error{context.Canceled}, []error{ErrClosed}},
		"late":                 {late, broken, []error{context.DeadlineExceeded, broken}, nil},
		"closed":               {closed, broken, []error{ErrClosed, broken}, nil},
		"closed, says cancel":  {closed, context.Canceled, []error{ErrClosed}, nil},
		"cancelled, then over": {both, broken, []error{context.Canceled}, []error{ErrClosed}},
	} {
		got := Cause(test.ctx, test.err)
		for _, want := range test.is {
			require.ErrorIs(t, got, want, name)
		}
		for _, not := range test.isNot {
			require.NotErrorIs(t, got, not, name)
		}
	}
	require.EqualError(t, Cause(cancelled, context.Canceled), "context canceled", "said once")
}

func TestCleanup(t *testing.T) {
	e := newEngine()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	ctx, cancel := e.Cleanup(cancelled)
	defer cancel()
	require.NoError(t, ctx.Err())
	_, bounded := ctx.Deadline()
	require.True(t, bounded)
	ns, _ := namespaces.Namespace(ctx)
	require.Equal(t, "test", ns)
}

func TestLogHook(t *testing.T) {
	var out strings.Builder
	e := &Engine{Namespace: "test", Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))}
	e.Init()
	l := log.G(e.Context(t.Context()))
	l.WithField("n", 1).Error("an error")
	l.WithError(errors.New("broken")).Warn("a warning")
	l.Info("news of containerd's")
	l.Debug("detail")
	l.Trace("more than anybody asked for")
	require.Equal(t, `level=ERROR msg="an error" component=containerd n=1
level=WARN msg="a warning" component=containerd error=broken
level=DEBUG msg="news of containerd's" component=containerd
level=DEBUG msg=detail component=containerd
`, out.String())
}

func TestLogLevel(t *testing.T) {
	var out strings.Builder
	e := &Engine{Namespace: "test", Logger: slog.New(slog.NewTextHandler(&out, nil))} // Info
	e.Init()
	l := log.G(e.Context(t.Context()))
	l.Info("news of containerd's")
	l.Debug("detail")
	require.Empty(t, out.String())
}

// A handler that panics does so in the goroutine that logged, and leaves
// nothing locked.
func TestLogPanic(t *testing.T) {
	e := &Engine{Namespace: "test", Logger: slog.New(panicking{slog.NewTextHandler(io.Discard, nil)})}
	e.Init()
	for range 2 {
		require.PanicsWithValue(t, "handler", func() {
			ctx, leave, err := e.Enter(t.Context())
			require.NoError(t, err)
			defer leave()
			log.G(ctx).Error("an error")
		})
	}
	_, err := e.Shut()
	require.NoError(t, err)
}

type panicking struct{ slog.Handler }

func (panicking) Handle(context.Context, slog.Record) error { panic("handler") }

func TestSilence(t *testing.T) {
	require.Equal(t, io.Discard, log.L.Logger.Out, "containerd's own logger says nothing unless the program gives it a voice")
	e := newEngine()
	require.Equal(t, io.Discard, log.G(e.Context(t.Context())).Logger.Out)
}
