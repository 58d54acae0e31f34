package tasktest

import (
	"strings"
	"sync"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var execs = map[string]func(*bed){
	"exit code and output": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		status, out := x.run(setup{args: []string{"sh", "-c", "echo out; echo err >&2; exit 42"}})
		require.EqualValues(b, 42, status)
		require.ElementsMatch(b, []string{"out", "err"}, strings.Fields(out))
		x.end()
	},
	"environment, user, directory": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		_, out := x.run(setup{args: []string{"sh", "-c", "echo $WORD; id -u; id -g; pwd"}, proc: func(p *specs.Process) {
			p.Env = append(p.Env, "WORD=hello")
			p.User = specs.User{UID: 1000, GID: 1000}
			p.Cwd = "/tmp"
		}})
		require.Equal(b, []string{"hello", "1000", "1000", "/tmp"}, strings.Fields(out))
		x.end()
	},
	"input": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		e := x.add(setup{args: []string{"cat"}, stdin: true})
		e.start()
		_, err := e.in.Write([]byte("hello"))
		require.NoError(b, err)
		require.NoError(b, e.in.Close())
		e.closeIO()
		require.Equal(b, "hello", e.output())
		require.Zero(b, e.wait())
		e.delete()
		x.end()
	},
	"in an ended container": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		e := x.add(setup{args: []string{"true"}})
		x.kill()
		x.wait()
		require.Error(b, e.tryStart(b.ctx))
		_, err := x.tryAdd(setup{args: []string{"true"}})
		require.ErrorIs(b, err, errdefs.ErrFailedPrecondition)
		x.delete()
		e.pipes.close()
	},
	"never started": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		e := x.add(setup{args: []string{"true"}})
		r, err := e.svc.Delete(e.ctx, &taskapi.DeleteRequest{ID: e.id, ExecID: e.exec})
		require.NoError(b, err)
		require.Zero(b, r.ExitStatus, "as containerd's own shim has it")
		require.Zero(b, r.Pid)
		_, err = e.tryDelete(b.ctx)
		require.ErrorIs(b, err, errdefs.ErrNotFound)
		e.pipes.close()
		x.end()
	},
	"of a missing binary": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		e := x.add(setup{args: []string{"nosuch"}})
		require.ErrorContains(b, e.tryStart(b.ctx), "nosuch")
		require.EqualValues(b, 255, e.wait(), "who waits for it learns that it never ran")
		require.Error(b, e.tryStart(b.ctx))
		e.delete()
		status, _ := x.run(setup{args: []string{"true"}})
		require.Zero(b, status, "the container is as it was")
		x.end()
	},
	"while the first process exits": func(b *bed) {
		for range 5 {
			x := b.start(setup{args: []string{"sh", "-c", "read x"}, stdin: true})
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					e, err := x.tryAdd(setup{args: []string{"sleep", "1000"}})
					if err != nil {
						return
					}
					if e.tryStart(b.ctx) == nil {
						_, err := e.tryWait(b.ctx)
						ok(b, err)
					}
					e.pipes.close()
				})
			}
			require.NoError(b, x.in.Close())
			x.closeIO()
			x.wait()
			wg.Wait()
			x.delete()
		}
	},
	"id taken": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		e := x.add(setup{args: []string{"true"}, id: "one"})
		_, err := x.tryAdd(setup{args: []string{"true"}, id: "one"})
		require.ErrorIs(b, err, errdefs.ErrAlreadyExists)
		e.start()
		e.wait()
		e.delete()
		e = x.add(setup{args: []string{"true"}, id: "one"})
		e.delete()
		x.end()
	},
	"bad ids": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		for _, id := range []string{"../up", "a/b", "."} {
			_, err := x.tryAdd(setup{args: []string{"true"}, id: id})
			require.ErrorIs(b, err, errdefs.ErrInvalidArgument, id)
		}
		x.end()
	},
	"deleted while it runs": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		e := x.add(setup{args: []string{"sleep", "1000"}})
		e.start()
		_, err := e.tryDelete(b.ctx)
		require.ErrorIs(b, err, errdefs.ErrFailedPrecondition)
		require.NoError(b, e.tryKill(unix.SIGTERM, false))
		require.EqualValues(b, 143, e.wait())
		require.ErrorIs(b, e.tryKill(unix.SIGTERM, false), errdefs.ErrNotFound)
		e.delete()
		_, err = e.tryDelete(b.ctx)
		require.ErrorIs(b, err, errdefs.ErrNotFound)
		require.Equal(b, tasktypes.Status_RUNNING, x.status())
		x.end()
	},
	"deleted before it runs": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		e := x.add(setup{args: []string{"true"}})
		require.ErrorIs(b, e.tryKill(unix.SIGTERM, false), errdefs.ErrFailedPrecondition)
		waited := make(chan error)
		go func() { _, err := e.tryWait(b.ctx); waited <- err }()
		e.delete()
		if err := <-waited; err != nil {
			require.ErrorIs(b, err, errdefs.ErrNotFound) // deleted before the call
		}
		x.end()
	},
	"ends with the container": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		e := x.add(setup{args: []string{"sleep", "1000"}})
		e.start()
		x.kill()
		require.EqualValues(b, 137, e.wait())
		x.wait()
		all := b.until(x.id, "exit "+x.id+" 137")
		require.Contains(b, all, "exit "+e.exec+" 137", "it ends first")
		x.delete()
		e.pipes.close()
	},
}
