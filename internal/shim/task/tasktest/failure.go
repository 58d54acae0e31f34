package tasktest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

// fails wants a create to fail with a text, and leave nothing but room for
// another one of the same name.
func (b *bed) fails(text string, s setup) {
	b.Helper()
	s.id = b.id()
	_, err := b.tryCreate(b.ctx, s)
	require.ErrorContains(b, err, text)
	require.Empty(b, b.left())
	x := b.start(setup{id: s.id, args: []string{"true"}})
	x.wait()
	x.delete()
}

// unexecutable are commands that execve(2) refuses.
func unexecutable() [][]string {
	return [][]string{
		{"/bin/crlf"}, {"/bin/text"}, {"/bin/none"},
		// Each of them would be fine, and all are more than the stack may have.
		slices.Repeat([]string{"/bin/true", strings.Repeat("a", 100<<10)}, 70),
	}
}

var failures = map[string]func(*bed){
	"missing binary": func(b *bed) { b.fails("nosuch", setup{args: []string{"nosuch"}}) },
	"missing binary, overlay": func(b *bed) {
		b.fails("nosuch", setup{args: []string{"nosuch"}, rootfs: b.overlay()})
	},
	"missing binary, terminal": func(b *bed) { b.fails("nosuch", setup{args: []string{"nosuch"}, tty: true}) },
	"missing directory of the binary": func(b *bed) {
		b.fails("/no/such", setup{args: []string{"/no/such"}})
	},
	"not executable": func(b *bed) { b.fails("/etc", setup{args: []string{"/etc"}}) },
	"missing root": func(b *bed) {
		b.fails("", setup{args: []string{"true"}, edit: func(s *specs.Spec) { s.Root.Path = "/nosuch" }})
	},
	"missing mount source": func(b *bed) {
		b.fails("", setup{args: []string{"true"}, edit: func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/srv", Type: "bind", Source: "/nosuch", Options: []string{"bind"}})
		}})
	},
	"bad root mount": func(b *bed) {
		over := append(b.overlay(), &types.Mount{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=/nosuch"}})
		b.fails("mount", setup{args: []string{"true"}, rootfs: over})
	},
	"bad configuration": func(b *bed) {
		b.fails("process", setup{args: []string{"true"}, edit: func(s *specs.Spec) { s.Process = nil }})
		b.fails("", setup{args: []string{"true"}, edit: func(s *specs.Spec) { s.Process.Cwd = "" }})
		b.fails("", setup{args: []string{"true"}, edit: func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "nosuch"})
		}})
	},
	"bundle without config.json": func(b *bed) {
		x, r := b.prepare(setup{args: []string{"true"}})
		require.NoError(b, os.Remove(filepath.Join(x.dir, "config.json")))
		_, err := b.svc.Create(b.ctx, r)
		require.ErrorContains(b, err, "config.json")
		require.NoError(b, os.WriteFile(filepath.Join(x.dir, "config.json"), []byte("{"), 0o600))
		_, err = b.svc.Create(b.ctx, r)
		require.ErrorContains(b, err, "config.json")
		x.pipes.close()
	},
	"missing fifo": func(b *bed) {
		b.fails("/nosuch/fifo", setup{args: []string{"true"}, out: "/nosuch/fifo"})
	},
	"bad ids": func(b *bed) {
		for _, id := range []string{"", "../up", "a/b"} {
			_, err := b.svc.Create(b.ctx, &taskapi.CreateTaskRequest{ID: id, Bundle: b.dir})
			require.Error(b, err, id)
		}
	},
	// Executors see no more than that they have forked.
	"what the kernel does not execute": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		for _, args := range unexecutable() {
			y := b.create(setup{args: args})
			require.ErrorIs(b, y.tryStart(b.ctx), errdefs.ErrInvalidArgument, args[0])
			y.wait()
			require.Equal(b, tasktypes.Status_STOPPED, y.status(), args[0])
			y.delete()

			e := x.add(setup{args: args})
			require.ErrorIs(b, e.tryStart(b.ctx), errdefs.ErrInvalidArgument, args[0])
			require.EqualValues(b, 255, e.wait())
			e.delete()
		}
		x.end()
	},
	"too little memory": func(b *bed) {
		x, err := b.tryCreate(b.ctx, setup{args: []string{"sleep", "1000"}, edit: limited(1 << 20)})
		if err == nil { // it is an executor with a small first process
			x.start()
			x.end()
		}
		require.Empty(b, b.left())
	},
}
