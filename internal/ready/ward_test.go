package ready

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// subject is a container of which a test tells how it is, in one of its lives.
type subject struct {
	bad   error
	ended chan struct{}
}

func (*subject) Started() time.Time                                   { return time.Now() }
func (*subject) Ends(context.Context) bool                            { return false }
func (*subject) Awake(context.Context) bool                           { return true }
func (s *subject) Run(context.Context, time.Duration, []string) error { return s.bad }

func (s *subject) Exited(ctx context.Context) {
	select {
	case <-s.ended:
	case <-ctx.Done():
	}
}

// A life is looked at once, whoever asks for it, and as long as it lasts. The next one's
// health is its own from its beginning.
func TestWard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Ward
		ctx, cancel := context.WithCancel(t.Context())
		h := &Healthcheck{Interval: time.Second, StartInterval: time.Second, Retries: 1}
		told := map[int][]Verdict{}
		watch := func(life int, s *subject) {
			w.Watch(ctx, "id", life, h, s, func(v Verdict) { told[life] = append(told[life], v) })
		}
		is := func(v Verdict, known bool) {
			t.Helper()
			synctest.Wait()
			now, ok := w.Health("id")
			require.Equal(t, known, ok)
			require.Equal(t, v, now.Verdict)
		}
		is("", false)
		first := &subject{errors.New("bad"), make(chan struct{})}
		watch(1, first)
		watch(1, first)
		is(Starting, true)
		time.Sleep(5 * time.Second)
		is(Unwell, true)

		second := &subject{nil, make(chan struct{})}
		watch(2, second)
		is(Starting, true)
		close(first.ended) // what comes late of it is not the second life's
		is(Starting, true)
		watch(1, first)
		time.Sleep(time.Second)
		is(Well, true)
		close(second.ended)
		is("", false)

		watch(3, &subject{nil, make(chan struct{})})
		is(Starting, true)
		cancel()
		is("", false)
		require.Equal(t, map[int][]Verdict{1: {Unwell}, 2: {Well}}, told)
	})
}
