package tasktest

import (
	"context"
	"errors"
	"os"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/stretchr/testify/require"
)

// cancelled runs f with a context that ends after a while. A step that can't be
// stopped half-way is finished; one that hangs fails the test.
func (b *bed) cancelled(after time.Duration, f func(ctx context.Context) error) error {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, after)
	defer cancel()
	began := time.Now()
	err := f(ctx)
	require.Less(b, time.Since(began), after+patience)
	return err
}

// phases are moments in a step of some milliseconds.
func phases(f func(after time.Duration)) {
	n := often(20)
	for i := range n {
		f(40 * time.Millisecond * time.Duration(i) / time.Duration(n))
	}
}

var cancels = map[string]func(*bed){
	"create": func(b *bed) {
		phases(func(after time.Duration) {
			x, r := b.prepare(setup{args: []string{"sleep", "1000"}, rootfs: b.overlay()})
			err := b.cancelled(after, func(ctx context.Context) error {
				_, err := b.svc.Create(ctx, r)
				return err
			})
			if err == nil {
				x.start()
				x.end()
			}
			require.Empty(b, b.left(), "cancelled after %v", after)
			x.pipes.close()
			require.NoError(b, os.RemoveAll(x.dir))
		})
	},
	"create that nobody reads of": func(b *bed) {
		err := b.cancelled(300*time.Millisecond, func(ctx context.Context) error {
			_, err := b.tryCreate(ctx, setup{args: []string{"true"}, rootfs: b.overlay(), out: b.fifo()})
			return err
		})
		require.ErrorIs(b, err, context.DeadlineExceeded)
		require.Empty(b, b.left())
	},
	"start": func(b *bed) {
		phases(func(after time.Duration) {
			x := b.create(setup{args: []string{"sleep", "1000"}})
			_ = b.cancelled(after/4, x.tryStart)
			x.end()
			require.Empty(b, b.left())
		})
	},
	"wait": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		err := b.cancelled(10*time.Millisecond, func(ctx context.Context) error {
			_, err := x.tryWait(ctx)
			return err
		})
		require.ErrorIs(b, err, context.DeadlineExceeded)
		x.end()
	},
	"exec": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		execsCancelled(b, x)
		x.end()
	},
	"delete": func(b *bed) {
		phases(func(after time.Duration) {
			x := b.start(setup{args: []string{"true"}})
			x.wait()
			err := b.cancelled(after/2, func(ctx context.Context) error {
				_, err := x.tryDelete(ctx)
				return err
			})
			if errors.Is(err, context.DeadlineExceeded) {
				x.delete() // it can be taken up again
			} else {
				require.NoError(b, err)
			}
			require.Empty(b, b.left())
			x.pipes.close()
		})
	},
}

func execsCancelled(b *bed, x *box) {
	b.Helper()
	phases(func(after time.Duration) {
		e := x.add(setup{args: []string{"sleep", "2000"}})
		err := b.cancelled(after, e.tryStart)
		if err == nil {
			e.kill()
			e.wait()
		}
		b.soon("the process's end", func() bool { return len(x.pids()) == 1 })
		if e.status() != tasktypes.Status_CREATED { // its time was over before the start began
			e.wait()
		}
		e.delete()
	})
}
