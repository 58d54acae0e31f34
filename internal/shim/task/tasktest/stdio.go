package tasktest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var stdio = map[string]func(*bed){
	"both outputs": func(b *bed) {
		status, out := b.run(setup{args: []string{"sh", "-c", "echo out; echo err >&2"}})
		require.Zero(b, status)
		require.ElementsMatch(b, []string{"out", "err"}, strings.Fields(out))
	},
	"input": func(b *bed) {
		x := b.start(setup{args: []string{"cat"}, stdin: true})
		_, err := io.WriteString(x.in, "hello\n")
		require.NoError(b, err)
		x.says("hello")
		require.NoError(b, x.in.Close())
		x.closeIO()
		require.Zero(b, x.wait())
		require.Equal(b, "hello\n", x.output())
		x.delete()
	},
	"input stays open without CloseIO": func(b *bed) {
		x := b.start(setup{args: []string{"sh", "-c", "echo up; cat; echo end"}, stdin: true})
		x.says("up")
		require.NoError(b, x.in.Close())
		again, err := os.OpenFile(x.inPath, os.O_WRONLY, 0)
		require.NoError(b, err)
		_, err = again.WriteString("second writer\n")
		require.NoError(b, err)
		x.says("second writer")
		require.NoError(b, again.Close())
		x.closeIO()
		x.says("end")
		require.Zero(b, x.wait())
		x.delete()
	},
	"empty input": func(b *bed) {
		x := b.start(setup{args: []string{"wc", "-c"}, stdin: true})
		require.NoError(b, x.in.Close())
		x.closeIO()
		require.Equal(b, "0", strings.TrimSpace(x.output()))
		require.Zero(b, x.wait())
		x.delete()
	},
	"empty input of an exec, closed before the start": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		e := x.add(setup{args: []string{"wc", "-c"}, stdin: true})
		require.NoError(b, e.in.Close())
		e.closeIO()
		e.start()
		require.Equal(b, "0", strings.TrimSpace(e.output()))
		require.Zero(b, e.wait())
		e.delete()
		x.end()
	},
	"200 MB": func(b *bed) {
		size := 200 << 20
		if short() {
			size = 20 << 20
		}
		x := b.create(setup{args: []string{"sh", "-c", fmt.Sprintf("yes 0123456789abcde | head -c %d", size)}})
		got, n := sha256.New(), new(count)
		x.copyTo(io.MultiWriter(got, n))
		x.start()
		require.Zero(b, x.wait())
		x.ended()
		x.delete()
		require.EqualValues(b, size, *n)
		want := sha256.New()
		line := bytes.Repeat([]byte("0123456789abcde\n"), 1<<16)
		for range size / len(line) {
			want.Write(line)
		}
		require.Equal(b, want.Sum(nil), got.Sum(nil))
	},
	"one buffer, 200 times": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		times := 200
		if short() {
			times = 20
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range times / 4 {
					e, err := x.tryAdd(setup{args: []string{"sh", "-c", "for i in 1 2 3 4 5; do echo out; echo err >&2; done"}})
					if !ok(b, err) || !ok(b, e.tryStart(b.ctx)) {
						return
					}
					_, err = e.tryWait(b.ctx)
					ok(b, err)
					e.copies.Wait()
					if out := e.sofar(); strings.Count(out, "out\n") != 5 || strings.Count(out, "err\n") != 5 {
						b.Errorf("lost: %q", out)
					}
					_, err = e.tryDelete(b.ctx)
					ok(b, err)
					e.pipes.close()
				}
			})
		}
		wg.Wait()
		x.end()
	},
	// Clients open their ends in the background: on a busy machine that may come
	// later than the end of a short process.
	"a reader that comes late": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		create := func(s setup) (*box, error) { return b.tryCreate(b.ctx, s) }
		for _, begin := range []func(setup) (*box, error){create, x.tryAdd} {
			out := b.fifo()
			ended := make(chan *box, 1)
			go func() {
				y, err := begin(setup{args: []string{"echo", "hello"}, out: out})
				if ok(b, err) && ok(b, y.tryStart(b.ctx)) {
					_, err = y.tryWait(b.ctx)
					ok(b, err)
				}
				ended <- y
			}()
			select {
			case <-ended:
				b.Fatal("nobody has read yet")
			case <-time.After(100 * time.Millisecond):
			}
			text, err := os.ReadFile(out)
			require.NoError(b, err)
			require.Equal(b, "hello\n", string(text))
			(<-ended).delete()
		}
		x.end()
	},
	"a reader that comes back": func(b *bed) {
		x := b.start(setup{args: []string{"sh", "-c", "echo one; cat; echo two"}, stdin: true})
		x.says("one")
		for _, f := range x.files[1:] {
			require.NoError(b, f.Close()) // of the program that reads
		}
		again, err := os.OpenFile(x.outPath, os.O_RDONLY, 0)
		require.NoError(b, err)
		defer again.Close()
		require.NoError(b, x.in.Close())
		x.closeIO()
		text, err := io.ReadAll(again)
		require.NoError(b, err)
		require.Equal(b, "two\n", string(text))
		require.Zero(b, x.wait())
		x.delete()
	},
	// It holds the fifo itself.
	"a grandchild with the output": func(b *bed) {
		x := b.start(setup{args: []string{"sh", "-c", "sleep 1000 & echo done"}})
		require.Zero(b, x.wait())
		require.Equal(b, "done\n", x.output(), "it dies with its pid namespace")
		x.delete()
	},
	"a grandchild with the output, in the host's pid namespace": func(b *bed) {
		x := b.start(setup{args: []string{"sh", "-c", "setsid sleep 1000 & echo done"}, edit: hostPids})
		require.Zero(b, x.wait())
		require.Equal(b, "done\n", x.output(), "it is killed")
		x.delete()
	},
	"an exec's grandchild with the output": func(b *bed) {
		x := b.start(setup{args: []string{"sleep", "1000"}})
		e := x.add(setup{args: []string{"sh", "-c", "sleep 1000 & echo done"}})
		e.start()
		require.Zero(b, e.wait(), "the exec ends all the same")
		e.says("done")
		_, err := e.tryDelete(b.ctx)
		require.NoError(b, err)
		x.kill()
		e.ended()
		e.pipes.close()
		x.wait()
		x.delete()
	},
}

// fifo makes one that nobody has opened.
func (b *bed) fifo() string {
	b.Helper()
	path := filepath.Join(b.dir, fmt.Sprintf("fifo-%d", b.count.Add(1)))
	require.NoError(b, unix.Mkfifo(path, 0o600))
	return path
}

// ok is require.NoError for goroutines.
func ok(b *bed, err error) bool {
	if err != nil {
		b.Error(err)
	}
	return err == nil
}

type count int64

func (c *count) Write(p []byte) (int, error) {
	*c += count(len(p))
	return len(p), nil
}
