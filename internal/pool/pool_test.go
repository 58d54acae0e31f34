package pool

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A thing can be broken while it waits.
type thing struct {
	number    int
	broken    chan struct{}
	discarded atomic.Int32
	stuck     error // of Discard
}

func (t *thing) Await(ctx context.Context) {
	select {
	case <-t.broken:
	case <-ctx.Done():
	}
}

func (t *thing) Discard() error {
	t.discarded.Add(1)
	return t.stuck
}

// A factory makes things, and remembers them.
type factory struct {
	mu    sync.Mutex
	made  []*thing
	fails error
	told  []error
}

func (f *factory) make(context.Context) (*thing, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails != nil {
		return nil, f.fails
	}
	t := &thing{number: len(f.made), broken: make(chan struct{})}
	f.made = append(f.made, t)
	return t, nil
}

func (f *factory) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails = err
}

func (f *factory) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.made)
}

func (f *factory) tell(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, err)
}

func (f *factory) open(t *testing.T, n int) *Pool[*thing] {
	t.Helper()
	p, err := New(t.Context(), n, f.make, f.tell)
	require.NoError(t, err)
	return p
}

func numbers(things []*thing) (all []int) {
	for _, t := range things {
		all = append(all, t.number)
	}
	return all
}

// The oldest is taken first, and replaced after Refill, when its taker has had time.
func TestTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f factory
		p := f.open(t, 2)
		ready, err := p.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int{0, 1}, numbers(ready))
		for n := range 2 {
			taken, ok, err := p.Take()
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, n, taken.number)
		}
		_, ok, err := p.Take()
		require.NoError(t, err)
		require.False(t, ok)
		synctest.Wait()
		require.Equal(t, 2, f.count(), "nothing is made before Refill")
		p.Refill()
		synctest.Wait()
		require.Equal(t, 2, f.count(), "nor before its taker has had time")
		time.Sleep(breath)
		ready, err = p.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int{2, 3}, numbers(ready))
		p.Refill()
		synctest.Wait()
		require.Equal(t, 4, f.count(), "the pool is bounded")
		require.NoError(t, p.Close())
		for n, made := range f.made {
			require.EqualValues(t, n/2, made.discarded.Load(), "what was taken is its taker's, what was not is discarded, once")
		}
		require.Empty(t, f.told)
	})
}

// When the first things can't be made, nothing is left of those that could.
func TestNewFails(t *testing.T) {
	t.Parallel()
	var f factory
	bad := errors.New("bad")
	p, err := New(t.Context(), 3, func(ctx context.Context) (*thing, error) {
		if f.count() == 2 {
			f.fail(bad)
		}
		return f.make(ctx)
	}, f.tell)
	require.ErrorIs(t, err, bad)
	require.Nil(t, p)
	require.Len(t, f.made, 2)
	for _, made := range f.made {
		require.EqualValues(t, 1, made.discarded.Load())
	}
	require.Empty(t, f.told, "it is the caller's")
}

// The end of ctx cuts New off, and with it what is being made.
func TestNewCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f factory
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := New(ctx, 2, func(making context.Context) (*thing, error) {
			if f.count() == 1 {
				<-making.Done()
				return nil, making.Err()
			}
			return f.make(making)
		}, f.tell)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualValues(t, 1, f.made[0].discarded.Load())
	})
}

// A failure in the background is told once, and nothing is tried again before a Refill.
func TestFailsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f factory
		p := f.open(t, 1)
		bad := errors.New("bad")
		f.fail(bad)
		_, _, _ = p.Take()
		p.Refill()
		time.Sleep(time.Hour)
		_, err := p.Wait(t.Context())
		require.ErrorIs(t, err, bad)
		require.ErrorIs(t, p.Failed(), bad)
		require.Equal(t, []error{bad}, f.told)
		f.fail(nil)
		p.Refill()
		require.NoError(t, p.Failed(), "it is tried again")
		ready, err := p.Wait(t.Context())
		require.NoError(t, err)
		require.Len(t, ready, 1)
		require.NoError(t, p.Close())
	})
}

// What breaks while it waits is discarded and replaced; what breaks again and again is
// not, until there is a Refill.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f factory
		p := f.open(t, 2)
		for n := range 3 {
			close(f.made[n].broken)
			synctest.Wait()
			require.EqualValues(t, 1, f.made[n].discarded.Load())
			require.Len(t, f.told, n+1)
			require.ErrorIs(t, f.told[n], errLost)
		}
		ready, err := p.Wait(t.Context())
		require.ErrorIs(t, err, errLost)
		require.Equal(t, []int{3}, numbers(ready))
		require.Equal(t, 4, f.count())
		p.Refill()
		ready, err = p.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int{3, 4}, numbers(ready))
		close(f.made[3].broken) // which counts anew
		synctest.Wait()
		ready, err = p.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int{4, 5}, numbers(ready))
		require.NoError(t, p.Close())
	})
}

// A pool in which nothing can wait stays empty, and does not try again.
func TestNever(t *testing.T) {
	t.Parallel()
	var f factory
	f.fail(ErrNever)
	p := f.open(t, 2)
	f.fail(nil)
	p.Refill()
	ready, err := p.Wait(t.Context())
	require.NoError(t, err)
	require.Empty(t, ready)
	_, ok, err := p.Take()
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, p.Close())
	require.Zero(t, f.count())
	require.Empty(t, f.told)
}

// Close waits for what is being made, discards it with the rest, and says of each what
// could not be.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f factory
		stuck := errors.New("stuck")
		going := make(chan struct{})
		p, err := New(t.Context(), 2, func(ctx context.Context) (*thing, error) {
			if f.count() >= 2 {
				<-going
			}
			made, err := f.make(ctx)
			made.stuck = stuck
			return made, err
		}, f.tell)
		require.NoError(t, err)
		_, _, _ = p.Take()
		p.Refill()
		time.Sleep(breath)
		synctest.Wait() // it is being made
		closed := make(chan error, 2)
		for range cap(closed) {
			go func() { closed <- p.Close() }()
		}
		synctest.Wait()
		require.Empty(t, closed, "they wait")
		_, _, err = p.Take()
		require.ErrorIs(t, err, ErrClosed)
		close(going)
		first := <-closed
		require.Equal(t, errors.Join(stuck, stuck), first)
		require.Equal(t, first, <-closed)
		require.Len(t, f.made, 3)
		require.Zero(t, f.made[0].discarded.Load())
		require.EqualValues(t, 1, f.made[1].discarded.Load())
		require.EqualValues(t, 1, f.made[2].discarded.Load(), "what was being made")
		_, err = p.Wait(t.Context())
		require.ErrorIs(t, err, ErrClosed)
		require.Empty(t, f.told, "Close has said it")
	})
}

// Close cuts off what is being made, which is no failure to tell of.
func TestCloseCutsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f factory
		p, err := New(t.Context(), 1, func(ctx context.Context) (*thing, error) {
			if f.count() == 0 {
				return f.make(ctx)
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}, f.tell)
		require.NoError(t, err)
		_, _, _ = p.Take()
		p.Refill()
		time.Sleep(breath)
		require.NoError(t, p.Close())
		require.Empty(t, f.told)
	})
}

// However often Refill is called, one thing is made at a time.
func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f factory
		var making, most atomic.Int32
		p, err := New(t.Context(), 3, func(ctx context.Context) (*thing, error) {
			most.Store(max(most.Load(), making.Add(1)))
			defer making.Add(-1)
			time.Sleep(time.Second)
			return f.make(ctx)
		}, f.tell)
		require.NoError(t, err)
		for range 3 {
			_, _, _ = p.Take()
			p.Refill()
			time.Sleep(2 * breath)
		}
		ready, err := p.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int{3, 4, 5}, numbers(ready))
		require.EqualValues(t, 1, most.Load())
		require.NoError(t, p.Close())
	})
}

// Whatever is taken, broken and closed at the same moment: a thing is taken or
// discarded, and that once, and no two are made at a time.
func TestCrowd(t *testing.T) {
	t.Parallel()
	for range 50 {
		var f factory
		var making atomic.Int32
		p, err := New(t.Context(), 3, func(ctx context.Context) (*thing, error) {
			defer making.Add(-1)
			if making.Add(1) > 1 {
				return nil, errors.New("two at a time")
			}
			made, err := f.make(ctx)
			if err == nil && made.number%5 == 4 {
				close(made.broken)
			}
			return made, err
		}, func(err error) {
			if !errors.Is(err, errLost) {
				t.Error(err)
			}
		})
		require.NoError(t, err)
		var taken sync.Map
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 20 {
					one, ok, err := p.Take()
					if err != nil {
						return
					}
					if _, twice := taken.LoadOrStore(one, true); ok && twice {
						t.Error("taken twice")
					}
					p.fillNow()
				}
			})
		}
		all.Go(func() { _ = p.Close() })
		all.Wait()
		require.NoError(t, p.Close())
		for _, made := range f.made {
			want := 1
			if _, ok := taken.Load(made); ok {
				want = 0
			}
			require.EqualValues(t, want, made.discarded.Load())
		}
	}
}

// fillNow is Refill without its pause.
func (p *Pool[T]) fillNow() { p.fill(0) }
