package tasktest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
)

var lives = map[string]func(*bed){
	"state": func(b *bed) {
		x := b.create(setup{args: []string{"sleep", "1000"}, stdin: true})
		st := x.state()
		require.Equal(b, tasktypes.Status_CREATED, st.Status)
		require.NotZero(b, st.Pid)
		require.Equal(b, x.inPath, st.Stdin)
		require.Equal(b, x.outPath, st.Stdout)
		require.Equal(b, x.errPath, st.Stderr)
		require.Equal(b, x.dir, st.Bundle)
		x.start()
		require.Equal(b, tasktypes.Status_RUNNING, x.status())
		r, err := b.svc.Connect(b.ctx, &taskapi.ConnectRequest{ID: x.id})
		require.NoError(b, err)
		require.Equal(b, st.Pid, r.TaskPid)
		x.end()
		_, err = x.tryWait(b.ctx)
		require.ErrorIs(b, err, errdefs.ErrNotFound)
	},
	"overlay root": func(b *bed) {
		x := b.start(setup{args: []string{"sh", "-c", "echo new >/srv/file; cat /srv/file"}, rootfs: b.overlay()})
		require.Zero(b, x.wait())
		require.Equal(b, "new\n", x.output())
		require.NotEmpty(b, b.left())
		x.delete()
		require.Empty(b, b.left())
	},
	"two mounts on the root": func(b *bed) {
		over := append(b.overlay(), b.overlay()...)
		x := b.start(setup{args: []string{"true"}, rootfs: over})
		require.Zero(b, x.wait())
		x.delete()
		require.Empty(b, b.left())
	},
	"one id twice": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		_, err := b.svc.Create(b.ctx, &taskapi.CreateTaskRequest{ID: x.id, Bundle: x.dir})
		require.Error(b, err)
		require.Equal(b, tasktypes.Status_RUNNING, x.status())
		x.end()
		x = b.start(setup{args: []string{"true"}, id: x.id})
		x.wait()
		x.delete()
	},
	"one id at once": func(b *bed) {
		x, r := b.prepare(setup{args: []string{"sleep", "1000"}})
		var (
			wg   sync.WaitGroup
			mu   sync.Mutex
			made int
		)
		for range 8 {
			wg.Go(func() {
				if _, err := b.svc.Create(b.ctx, r); err == nil {
					mu.Lock()
					made++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		require.Equal(b, 1, made)
		x.start()
		x.end()
	},
	"started twice": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		require.ErrorIs(b, x.tryStart(b.ctx), errdefs.ErrFailedPrecondition)
		require.Equal(b, tasktypes.Status_RUNNING, x.status())
		x.end()
	},
	"deleted twice": func(b *bed) {
		x := b.start(setup{args: []string{"true"}})
		x.wait()
		x.delete()
		_, err := x.tryDelete(b.ctx)
		require.ErrorIs(b, err, errdefs.ErrNotFound)
	},
	"deleted at once": func(b *bed) {
		x := b.start(setup{args: []string{"true"}})
		x.wait()
		errs := make(chan error)
		for range 8 {
			go func() { _, err := x.tryDelete(b.ctx); errs <- err }()
		}
		done := 0
		for range 8 {
			if err := <-errs; err == nil {
				done++
			} else {
				require.ErrorIs(b, err, errdefs.ErrNotFound)
			}
		}
		require.Equal(b, 1, done)
		x.pipes.close()
	},
	"deleted while it runs": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		_, err := x.tryDelete(b.ctx)
		require.ErrorIs(b, err, errdefs.ErrFailedPrecondition)
		require.Equal(b, tasktypes.Status_RUNNING, x.status())
		x.end()
	},
	"deleted before it runs": func(b *bed) {
		x := b.create(setup{args: []string{"sleep", "1000"}})
		status, err := x.tryDelete(b.ctx)
		require.NoError(b, err)
		require.EqualValues(b, 137, status)
		require.Empty(b, b.left())
		x.pipes.close()
	},
	"32 goroutines": func(b *bed) {
		rounds := often(10)
		var wg sync.WaitGroup
		for n := range 32 {
			wg.Go(func() {
				for i := range rounds {
					if err := b.life(fmt.Sprintf("g%d-%d", n, i), i); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		require.Empty(b, b.left())
	},
}

// life is a whole one, for goroutines.
func (b *bed) life(id string, code int) error {
	x, err := b.tryCreate(b.ctx, setup{id: id, args: []string{"sh", "-c", fmt.Sprintf("echo %s; exit %d", id, code)}})
	if err != nil {
		return err
	}
	defer x.pipes.close()
	if err := x.tryStart(b.ctx); err != nil {
		return err
	}
	status, err := x.tryWait(b.ctx)
	if err != nil {
		return err
	}
	x.copies.Wait()
	if out := x.sofar(); out != id+"\n" || int(status) != code {
		err = fmt.Errorf("container %s: status %d, output %q", id, status, out)
	}
	_, derr := x.tryDelete(context.WithoutCancel(b.ctx))
	return errors.Join(err, derr, os.RemoveAll(x.dir))
}

// overlay is a writable root file system.
func (b *bed) overlay() []*types.Mount {
	b.Helper()
	upper, err := os.MkdirTemp(b.dir, "upper-")
	require.NoError(b, err)
	work, err := os.MkdirTemp(b.dir, "work-")
	require.NoError(b, err)
	return []*types.Mount{{
		Type: "overlay", Source: "overlay",
		Options: []string{"lowerdir=" + rootfs, "upperdir=" + upper, "workdir=" + work},
	}}
}
