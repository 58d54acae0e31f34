package ready

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAfter(t *testing.T) {
	bad := errors.New("bad")
	h := Health{Verdict: Starting}
	h = h.after(bad, true, 2)
	require.Equal(t, Health{Starting, 0, "bad"}, h, "in the start period it does not count")
	h = h.after(bad, false, 2)
	require.Equal(t, Health{Starting, 1, "bad"}, h)
	require.Equal(t, Health{Unwell, 2, "bad"}, h.after(bad, false, 2))
	h = h.after(nil, false, 2)
	require.Equal(t, Health{Verdict: Well}, h)
	h = h.after(bad, true, 2)
	require.Equal(t, Health{Well, 1, "bad"}, h, "once it was healthy, the start is over")
	require.Equal(t, Health{Unwell, 2, "bad"}, h.after(bad, true, 2))
}

// scripted is a container whose looks are told beforehand.
type scripted struct {
	looks []error
	awake bool
	end   context.CancelFunc
}

func (*scripted) Started() time.Time         { return time.Now() }
func (*scripted) Ends(context.Context) bool  { return false }
func (*scripted) Exited(ctx context.Context) { <-ctx.Done() }

// Awake is false at every other look.
func (s *scripted) Awake(context.Context) bool {
	s.awake = !s.awake
	return s.awake
}

func (s *scripted) Run(context.Context, time.Duration, []string) error {
	if len(s.looks) == 0 {
		s.end()
		return nil
	}
	err := s.looks[0]
	s.looks = s.looks[1:]
	return err
}

func TestWatch(t *testing.T) {
	bad := errors.New("bad")
	ctx, cancel := context.WithCancel(t.Context())
	var told []Verdict
	Watch(ctx, &Healthcheck{Interval: time.Millisecond, StartInterval: time.Millisecond, Retries: 2},
		&scripted{looks: []error{bad, nil, bad, bad, nil}, end: cancel},
		func(h Health) { told = append(told, h.Verdict) })
	require.Equal(t, []Verdict{Starting, Well, Well, Unwell, Well}, told)
}
