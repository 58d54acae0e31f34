package tasktest

import (
	"context"
	"os"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/anypb"
)

// setup says what a container or a further process is to be.
type setup struct {
	args   []string
	edit   func(*specs.Spec)    // of a container
	proc   func(*specs.Process) // of a further process
	rootfs []*types.Mount
	mute   bool // no streams at all
	stdin  bool
	tty    bool
	out    string // instead of a fifo
	id     string // instead of a new one
}

// box is a container, or a further process of one.
type box struct {
	*bed
	*pipes
	id, exec string
	dir      string
	spec     *specs.Spec
}

// prepare makes all that Create needs.
func (b *bed) prepare(s setup) (*box, *taskapi.CreateTaskRequest) {
	b.Helper()
	id := s.id
	if id == "" {
		id = b.id()
	}
	spec := b.spec(id, s.args...)
	spec.Process.Terminal = s.tty
	if len(s.rootfs) > 0 {
		spec.Root = &specs.Root{Path: "rootfs"}
	}
	if s.edit != nil {
		s.edit(spec)
	}
	x := &box{bed: b, id: id, dir: b.bundle(id, spec), spec: spec}
	x.pipes = b.pipes(s)
	return x, &taskapi.CreateTaskRequest{
		ID: id, Bundle: x.dir, Rootfs: s.rootfs, Terminal: s.tty,
		Stdin: x.inPath, Stdout: x.outPath, Stderr: x.errPath,
	}
}

func (b *bed) tryCreate(ctx context.Context, s setup) (*box, error) {
	b.Helper()
	x, r := b.prepare(s)
	if _, err := b.svc.Create(ctx, r); err != nil {
		x.pipes.close()
		require.NoError(b, os.RemoveAll(x.dir))
		return nil, errgrpc.ToNative(err)
	}
	return x, nil
}

func (b *bed) create(s setup) *box {
	b.Helper()
	x, err := b.tryCreate(b.ctx, s)
	require.NoError(b, err)
	return x
}

// start creates and starts.
func (b *bed) start(s setup) *box {
	b.Helper()
	x := b.create(s)
	x.start()
	return x
}

// run runs a container to its end.
func (b *bed) run(s setup) (status uint32, out string) {
	b.Helper()
	x := b.start(s)
	status, out = x.wait(), x.output()
	x.delete()
	return status, out
}

func (x *box) tryStart(ctx context.Context) error {
	_, err := x.svc.Start(ctx, &taskapi.StartRequest{ID: x.id, ExecID: x.exec})
	return errgrpc.ToNative(err)
}

func (x *box) start() {
	x.Helper()
	require.NoError(x, x.tryStart(x.ctx))
}

func (x *box) tryWait(ctx context.Context) (uint32, error) {
	r, err := x.svc.Wait(ctx, &taskapi.WaitRequest{ID: x.id, ExecID: x.exec})
	return r.GetExitStatus(), errgrpc.ToNative(err)
}

func (x *box) wait() uint32 {
	x.Helper()
	status, err := x.tryWait(x.ctx)
	require.NoError(x, err)
	return status
}

func (x *box) tryKill(sig unix.Signal, all bool) error {
	_, err := x.svc.Kill(x.ctx, &taskapi.KillRequest{ID: x.id, ExecID: x.exec, Signal: uint32(sig), All: all})
	return errgrpc.ToNative(err)
}

func (x *box) kill() {
	x.Helper()
	require.NoError(x, x.tryKill(unix.SIGKILL, true))
}

func (x *box) tryDelete(ctx context.Context) (uint32, error) {
	r, err := x.svc.Delete(ctx, &taskapi.DeleteRequest{ID: x.id, ExecID: x.exec})
	return r.GetExitStatus(), errgrpc.ToNative(err)
}

// delete removes what has ended, as an engine does: the bundle, too.
func (x *box) delete() {
	x.Helper()
	_, err := x.tryDelete(x.ctx)
	require.NoError(x, err)
	x.pipes.close()
	if x.exec == "" {
		require.NoError(x, os.RemoveAll(x.dir))
	}
}

// end kills and deletes.
func (x *box) end() {
	x.Helper()
	x.kill()
	x.wait()
	x.delete()
}

func (x *box) state() *taskapi.StateResponse {
	x.Helper()
	r, err := x.svc.State(x.ctx, &taskapi.StateRequest{ID: x.id, ExecID: x.exec})
	require.NoError(x, err)
	return r
}

func (x *box) status() tasktypes.Status {
	x.Helper()
	return x.state().Status
}

func (x *box) pids() []*tasktypes.ProcessInfo {
	x.Helper()
	r, err := x.svc.Pids(x.ctx, &taskapi.PidsRequest{ID: x.id})
	require.NoError(x, err)
	return r.Processes
}

func (x *box) closeIO() {
	x.Helper()
	_, err := x.svc.CloseIO(x.ctx, &taskapi.CloseIORequest{ID: x.id, ExecID: x.exec, Stdin: true})
	require.NoError(x, err)
}

// tryAdd announces a further process.
func (x *box) tryAdd(s setup) (*box, error) {
	x.Helper()
	id := s.id
	if id == "" {
		id = "e" + x.bed.id()
	}
	p := *x.spec.Process
	p.Args, p.Terminal = s.args, s.tty
	if s.proc != nil {
		s.proc(&p)
	}
	a, err := typeurl.MarshalAny(&p)
	require.NoError(x, err)
	e := &box{bed: x.bed, id: x.id, exec: id, dir: x.dir, spec: x.spec, pipes: x.bed.pipes(s)}
	_, err = x.svc.Exec(x.ctx, &taskapi.ExecProcessRequest{
		ID: x.id, ExecID: id, Terminal: s.tty, Stdin: e.inPath, Stdout: e.outPath, Stderr: e.errPath,
		Spec: &anypb.Any{TypeUrl: a.GetTypeUrl(), Value: a.GetValue()},
	})
	if err != nil {
		e.pipes.close()
		return nil, errgrpc.ToNative(err)
	}
	return e, nil
}

func (x *box) add(s setup) *box {
	x.Helper()
	e, err := x.tryAdd(s)
	require.NoError(x, err)
	return e
}

// run runs a further process to its end.
func (x *box) run(s setup) (status uint32, out string) {
	x.Helper()
	e := x.add(s)
	e.start()
	status, out = e.wait(), e.output()
	e.delete()
	return status, out
}
