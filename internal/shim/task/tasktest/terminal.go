package tasktest

import (
	"io"
	"strings"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/stretchr/testify/require"
)

func (x *box) resize(width, height uint32) error {
	_, err := x.svc.ResizePty(x.ctx, &taskapi.ResizePtyRequest{ID: x.id, ExecID: x.exec, Width: width, Height: height})
	return err
}

var terminals = map[string]func(*bed){
	"output": func(b *bed) {
		status, out := b.run(setup{args: []string{"sh", "-c", "tty >/dev/null && echo a terminal; echo err >&2; exit 3"}, tty: true})
		require.EqualValues(b, 3, status)
		require.Equal(b, "a terminal\r\nerr\r\n", out)
	},
	"input and size": func(b *bed) {
		x := b.create(setup{args: []string{"sh", "-c", "read line; echo got $line; stty size"}, tty: true, stdin: true})
		require.NoError(b, x.resize(132, 43))
		x.start()
		_, err := io.WriteString(x.in, "word\n")
		require.NoError(b, err)
		require.Zero(b, x.wait())
		out := x.output()
		require.Contains(b, out, "got word\r\n")
		require.Contains(b, out, "43 132")
		require.Error(b, x.resize(80, 25), "it is closed")
		x.delete()
	},
	"all output": func(b *bed) {
		status, out := b.run(setup{args: []string{"sh", "-c", "yes | head -n 100000"}, tty: true})
		require.Zero(b, status)
		require.Equal(b, 100000, strings.Count(out, "y\r\n"))
	},
	"none": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		require.Error(b, x.resize(80, 25))
		x.end()
	},
	"nobody reads": func(b *bed) {
		x := b.create(setup{args: []string{"sh", "-c", "yes | head -n 100000"}, tty: true})
		x.pipes.close()
		x.start()
		// It fills the fifo and stays: then the program goes.
		b.undo()
	},
	"nobody reads, and the process has ended": func(b *bed) {
		x := b.create(setup{args: []string{"sh", "-c", "yes | head -n 22000"}, tty: true}) // a fifo, and not all of the terminal's buffer
		x.pipes.close()
		x.start()
		require.Zero(b, x.wait())
		_, err := x.tryDelete(b.ctx)
		require.NoError(b, err)
	},
	"without streams": func(b *bed) {
		x := b.start(setup{args: []string{"sh", "-c", "yes | head -n 100000; exit 4"}, tty: true, mute: true})
		require.EqualValues(b, 4, x.wait())
		x.delete()
	},
	"exec": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		e := x.add(setup{args: []string{"sh", "-c", "read line; echo got $line; stty size"}, tty: true, stdin: true})
		require.Error(b, e.resize(80, 25), "it was not started")
		e.start()
		require.NoError(b, e.resize(100, 30))
		_, err := io.WriteString(e.in, "word\n")
		require.NoError(b, err)
		require.Zero(b, e.wait())
		require.Contains(b, e.output(), "30 100")
		e.delete()
		x.end()
	},
	"an exec's grandchild with the terminal": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		e := x.add(setup{args: []string{"sh", "-c", "trap '' HUP; sleep 1000 & echo done"}, tty: true})
		e.start()
		require.Zero(b, e.wait())
		e.says("done")
		e.delete()
		x.end()
	},
}
