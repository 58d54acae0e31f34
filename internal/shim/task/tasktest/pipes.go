package tasktest

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/containerd/fifo"
	"github.com/stretchr/testify/require"
)

// pipes are the client's ends of a process's streams, as containerd's client
// makes them. Both outputs go to one buffer.
type pipes struct {
	bed                      *bed
	inPath, outPath, errPath string
	in                       io.WriteCloser
	files                    []io.Closer
	cancel                   context.CancelFunc
	copies                   sync.WaitGroup

	mu  sync.Mutex
	buf strings.Builder
	to  io.Writer // nil: buf
}

func (b *bed) pipes(s setup) *pipes {
	b.Helper()
	p := &pipes{bed: b, cancel: func() {}}
	if s.mute {
		return p
	}
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	open := func(kind string, flag int) (io.ReadWriteCloser, string) {
		path := filepath.Join(b.dir, fmt.Sprintf("%s-%d", kind, b.count.Add(1)))
		f, err := fifo.OpenFifo(ctx, path, flag|syscall.O_CREAT|syscall.O_NONBLOCK, 0o600)
		require.NoError(b, err)
		p.files = append(p.files, f)
		return f, path
	}
	if s.stdin {
		p.in, p.inPath = open("in", syscall.O_WRONLY)
	}
	if s.out != "" {
		p.outPath, p.errPath = s.out, s.out
		return p
	}
	read := func(kind string) (path string) {
		r, path := open(kind, syscall.O_RDONLY)
		p.copies.Go(func() { _, _ = io.Copy(p, r) })
		return path
	}
	p.outPath = read("out")
	if s.tty {
		// containerd's client names a fifo for it as well, and makes none.
		p.errPath = filepath.Join(b.dir, "no-such-fifo")
		return p
	}
	p.errPath = read("err")
	return p
}

// Write implements io.Writer for both outputs.
func (p *pipes) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.to != nil {
		return p.to.Write(b)
	}
	return p.buf.Write(b)
}

// copyTo has the output written to w from now on.
func (p *pipes) copyTo(w io.Writer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = w
}

func (p *pipes) sofar() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buf.String()
}

// output waits for the end of the output and gives all of it.
func (p *pipes) output() string {
	p.bed.Helper()
	p.ended()
	return p.sofar()
}

// ended waits for the end of the output.
func (p *pipes) ended() {
	p.bed.Helper()
	done := make(chan struct{})
	go func() { p.copies.Wait(); close(done) }()
	select {
	case <-done:
	case <-p.bed.ctx.Done():
		require.Fail(p.bed, "the output does not end", "so far: %q", p.sofar())
	}
}

// says waits until the output has a text.
func (p *pipes) says(text string) {
	p.bed.Helper()
	p.bed.soon("output "+text, func() bool { return strings.Contains(p.sofar(), text) })
}

func (p *pipes) close() {
	p.cancel()
	for _, f := range p.files {
		f.Close()
	}
	p.copies.Wait()
}
