package tasktest

import (
	"fmt"
	"os"
	"sync"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
)

var undos = map[string]func(*bed){
	"all states": func(b *bed) {
		var all []*box
		for i := range 4 {
			over := b.overlay()
			all = append(all,
				b.create(setup{args: []string{"sleep", "1000"}, rootfs: over}),
				b.start(setup{args: []string{"sleep", "1000"}, stdin: true, tty: i%2 == 0}),
				b.start(setup{args: []string{"true"}}),
				b.start(setup{args: []string{"sh", "-c", "setsid sleep 1000 & sleep 1000"}, edit: hostPids}),
				b.start(setup{args: []string{"sleep", "1000"}}),
				b.start(setup{args: []string{"sleep", "1000"}}),
			)
			all[len(all)-2].pause()
			e := all[len(all)-1].add(setup{args: []string{"sleep", "1000"}, tty: true})
			e.start()
			defer e.pipes.close()
		}
		b.undo()
		for _, x := range all {
			x.ended()
			x.pipes.close()
			require.NoDirExists(b, x.dir)
		}
		_, r := b.prepare(setup{args: []string{"true"}})
		_, err := b.svc.Create(b.ctx, r)
		require.ErrorContains(b, err, "ending")
	},
	"while creates are in flight": func(b *bed) {
		var (
			wg   sync.WaitGroup
			once sync.Once
		)
		made := make(chan struct{})
		for n := range 8 {
			wg.Go(func() {
				for i := range 10 {
					x, err := b.tryCreate(b.ctx, setup{id: fmt.Sprintf("g%d-%d", n, i), args: []string{"sleep", "1000"}})
					if err != nil {
						if !errdefs.IsUnavailable(err) {
							b.Error(err)
						}
						return
					}
					defer x.pipes.close()
					once.Do(func() { close(made) })
					_ = x.tryStart(b.ctx)
				}
			})
		}
		<-made
		b.undo()
		wg.Wait()
		require.Empty(b, b.left())
	},
	"while an id is being created that waits": func(b *bed) {
		uri := b.script("echo >" + b.dir + "/up\nexec sleep 1000\n")
		failed := make(chan error, 1)
		go func() {
			_, err := b.tryCreate(b.ctx, setup{args: []string{"true"}, out: uri})
			failed <- err
		}()
		b.soon("the logger", func() bool { _, err := os.Stat(b.dir + "/up"); return err == nil })
		began := time.Now()
		b.undo()
		require.Less(b, time.Since(began), 5*time.Second)
		require.ErrorIs(b, <-failed, errdefs.ErrUnavailable)
	},
	"while an exec waits for its reader": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		e := x.add(setup{args: []string{"true"}, out: b.fifo()})
		failed := make(chan error, 1)
		go func() { failed <- e.tryStart(b.ctx) }()
		b.soon("the start", func() bool { return e.status() == tasktypes.Status_RUNNING })
		began := time.Now()
		b.undo()
		require.Less(b, time.Since(began), 5*time.Second)
		require.ErrorIs(b, <-failed, errdefs.ErrFailedPrecondition)
		x.pipes.close()
	},
	"twice": func(b *bed) {
		b.start(setup{args: []string{"sleep", "1000"}})
		b.undo()
		require.NoError(b, b.svc.Undo(b.ctx))
	},
}
