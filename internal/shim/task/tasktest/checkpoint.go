package tasktest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types/runc/options"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// criuWorks asks CRIU whether it does: Debian 12's is too old for Linux 6.13. It
// is asked first before there are services, which reap children.
var criuWorks = sync.OnceValue(func() error {
	out, err := exec.Command("criu", "check").CombinedOutput()
	if err != nil {
		out = bytes.TrimSpace(out)
		err = fmt.Errorf("criu check: %w: %s", err, out[bytes.LastIndexByte(out, '\n')+1:])
	}
	return err
})

// needsCriu skips a test where CRIU is missing or does not work.
func (b *bed) needsCriu() {
	b.Helper()
	if err := criuWorks(); err != nil {
		b.Skipf("%v: install one that is as new as the kernel: apt-get install criu", err)
	}
}

func (x *box) tryCheckpoint(images string, o *options.CheckpointOptions) error {
	x.Helper()
	a, err := typeurl.MarshalAnyToProto(o)
	require.NoError(x, err)
	_, err = x.svc.Checkpoint(x.ctx, &taskapi.CheckpointTaskRequest{ID: x.id, Path: images, Options: a})
	return errgrpc.ToNative(err)
}

// checkpoint makes one, or skips the test where the executor makes none.
func (x *box) checkpoint(images string, o *options.CheckpointOptions) {
	x.Helper()
	err := x.tryCheckpoint(images, o)
	if errors.Is(err, errdefs.ErrNotImplemented) {
		x.Skip(err)
	}
	require.NoError(x, err)
}

// restored prepares a container that is to be restored, with streams of its
// own.
func (b *bed) restored(s setup, images string) *box {
	b.Helper()
	x, r := b.prepare(s)
	r.Checkpoint = images
	_, err := b.svc.Create(b.ctx, r)
	require.NoError(b, err)
	require.Equal(b, tasktypes.Status_CREATED, x.status())
	return x
}

// counter says all numbers, as many as it is told to, one for each line that
// it reads.
var counter = setup{args: []string{"sh", "-c", "i=0; while read line; do i=$((i+1)); echo $line $i; done"}, stdin: true}

func (x *box) line(text string) {
	x.Helper()
	_, err := x.in.Write([]byte(text + "\n"))
	require.NoError(x, err)
}

var checkpoints = map[string]func(*bed){
	"and restore": func(b *bed) {
		b.needsCriu()
		x := b.start(counter)
		x.line("a")
		x.says("a 1")
		images := filepath.Join(b.dir, "images")
		x.checkpoint(images, &options.CheckpointOptions{Exit: true})
		require.EqualValues(b, 137, x.wait())
		x.delete()

		y := b.restored(counter, images)
		y.start()
		require.Equal(b, tasktypes.Status_RUNNING, y.status())
		in, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", y.state().Pid))
		require.NoError(b, err)
		require.Contains(b, string(in), b.cgroup+"/"+y.id+"\n", "not that of what was dumped")
		require.NotEmpty(b, y.pids())
		y.line("b")
		y.says("b 2")
		_, out := y.run(setup{args: []string{"echo", "added"}})
		require.Equal(b, "added\n", out)
		y.pause()
		y.resume()
		y.closeIO()
		require.NoError(b, y.in.Close())
		require.Zero(b, y.wait())
		require.Equal(b, "b 2\n", y.output())
		y.delete()
		require.Empty(b, b.left())
	},
	"of one that runs on": func(b *bed) {
		b.needsCriu()
		x := b.start(counter)
		x.line("a")
		x.says("a 1")
		x.pause() // as containerd's client does
		for _, images := range []string{"one", "two"} {
			x.checkpoint(filepath.Join(b.dir, images), &options.CheckpointOptions{})
		}
		x.resume()
		x.line("b")
		x.says("b 2")
		x.end()
		for _, images := range []string{"one", "two"} { // each of them
			y := b.restored(counter, filepath.Join(b.dir, images))
			y.start()
			y.line("c")
			y.says("c 2")
			y.end()
		}
	},
	"of a paused one that ends": func(b *bed) {
		b.needsCriu()
		x := b.start(counter)
		// A start is over before the runtime's init has become the command, and
		// CRIU can't dump one that is frozen as the init still: that maps files
		// of the host.
		x.line("a")
		x.says("a 1")
		x.pause()
		x.checkpoint(filepath.Join(b.dir, "images"), &options.CheckpointOptions{Exit: true})
		require.EqualValues(b, 137, x.wait())
		x.delete()
	},
	"of what can't be": func(b *bed) {
		images := filepath.Join(b.dir, "images")
		x := b.create(setup{args: []string{"sleep", "1000"}})
		require.ErrorIs(b, x.tryCheckpoint(images, &options.CheckpointOptions{}), errdefs.ErrFailedPrecondition)
		require.ErrorIs(b, x.tryCheckpoint("images", &options.CheckpointOptions{}), errdefs.ErrInvalidArgument)
		require.ErrorIs(b, x.tryCheckpoint(images, &options.CheckpointOptions{ParentPath: "/"}), errdefs.ErrNotImplemented)
		x.start()
		e := x.add(setup{args: []string{"sleep", "1000"}})
		e.start()
		require.ErrorIs(b, x.tryCheckpoint(images, &options.CheckpointOptions{}), errdefs.ErrFailedPrecondition)
		x.end()
		e.pipes.close()
		tty := b.start(setup{args: []string{"sleep", "1000"}, tty: true})
		require.ErrorIs(b, tty.tryCheckpoint(images, &options.CheckpointOptions{}), errdefs.ErrNotImplemented)
		tty.end()
	},
	"that is none": func(b *bed) {
		images := filepath.Join(b.dir, "images")
		require.NoError(b, os.Mkdir(images, 0o700))
		require.NoError(b, os.WriteFile(filepath.Join(images, "descriptors.json"), []byte("[]"), 0o600))
		x := b.restored(counter, images)
		require.Error(b, x.tryStart(b.ctx))
		require.Equal(b, tasktypes.Status_CREATED, x.status())
		x.end()
		require.Empty(b, b.left())
	},
	"that is never restored": func(b *bed) {
		x := b.restored(counter, filepath.Join(b.dir, "images"))
		_, err := b.svc.Pause(b.ctx, &taskapi.PauseRequest{ID: x.id})
		require.ErrorIs(b, errgrpc.ToNative(err), errdefs.ErrFailedPrecondition)
		require.ErrorIs(b, x.tryKill(unix.SIGTERM, false), errdefs.ErrFailedPrecondition)
		e := x.add(setup{args: []string{"true"}})
		require.ErrorIs(b, e.tryStart(b.ctx), errdefs.ErrFailedPrecondition)
		e.delete()
		_, err = x.tryDelete(b.ctx)
		require.NoError(b, err)
		x.pipes.close()

		y := b.restored(counter, filepath.Join(b.dir, "images"))
		defer y.pipes.close()
		b.undo()
	},
}
