package container_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
)

func TestStdoutAndStderr(t *testing.T) {
	t.Parallel()
	out, eout, err := output(t, busybox(t), sh("echo out; echo err >&2; echo -n no newline"))
	require.NoError(t, err)
	require.Equal(t, "out\nno newline", out)
	require.Equal(t, "err\n", eout)
}

// A bytes.Buffer for both streams, which is not safe for two goroutines.
func TestSharedWriter(t *testing.T) {
	t.Parallel()
	runs := 200
	if testing.Short() {
		runs = 10
	}
	img := busybox(t)
	var g errgroup.Group
	g.SetLimit(4)
	for range runs {
		g.Go(func() error {
			var both bytes.Buffer
			cfg := sh("for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done")
			cfg.Stdout, cfg.Stderr = &both, &both
			c, err := img.Run(t.Context(), cfg)
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.Wait(t.Context()); err != nil {
				return err
			}
			if n := strings.Count(both.String(), "\n"); n != 10 {
				return fmt.Errorf("%d of 10 lines:\n%s", n, both.String())
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
}

// uncomparable is a writer that == can't be asked about.
type uncomparable struct{ f []func([]byte) (int, error) }

func (u uncomparable) Write(p []byte) (int, error) { return u.f[0](p) }

func TestUncomparableWriter(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	cfg := sh("echo hello")
	cfg.Stdout = uncomparable{[]func([]byte) (int, error){b.Write}}
	cfg.Stderr = cfg.Stdout
	c := containertest.Run(t, busybox(t), cfg)
	require.NoError(t, c.Wait(t.Context()))
	require.Equal(t, "hello\n", b.String())
}

func TestStdin(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	for name, in := range map[string]string{"empty": "", "text": "one\ntwo", "bigger than a pipe": strings.Repeat("x", 3<<20)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			c := containertest.Run(t, img, container.Config{Args: []string{"cat"}, Stdin: strings.NewReader(in), Stdout: &out})
			require.NoError(t, c.Wait(t.Context()))
			require.Equal(t, in, out.String())
		})
	}
	t.Run("nil", func(t *testing.T) {
		t.Parallel()
		require.Empty(t, stdout(t, img, container.Config{Args: []string{"cat"}}))
	})
	t.Run("not read", func(t *testing.T) {
		t.Parallel()
		c := containertest.Run(t, img, container.Config{Args: []string{"true"}, Stdin: zeros{}})
		require.NoError(t, c.Wait(t.Context()))
	})
	t.Run("fails", func(t *testing.T) {
		t.Parallel()
		broken := errors.New("reader is broken")
		c := containertest.Run(t, img, container.Config{Args: []string{"cat"}, Stdin: iotest.ErrReader(broken)})
		require.ErrorIs(t, c.Wait(t.Context()), broken)
	})
}

// A reader that never returns holds up neither Wait nor Close.
func TestStdinBlocks(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	defer w.Close()
	c, err := busybox(t).Run(t.Context(), container.Config{Args: []string{"true"}, Stdin: r})
	require.NoError(t, err)
	require.NoError(t, c.Wait(t.Context()))
	require.NoError(t, c.Close())
}

func TestInteractive(t *testing.T) {
	t.Parallel()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	c := containertest.Run(t, busybox(t), container.Config{Args: []string{"cat"}, Stdin: inR, Stdout: outW})
	for _, line := range []string{"one", "two"} {
		_, err := fmt.Fprint(inW, line)
		require.NoError(t, err)
		b := make([]byte, len(line))
		_, err = io.ReadFull(outR, b)
		require.NoError(t, err)
		require.Equal(t, line, string(b))
	}
	require.NoError(t, inW.Close())
	require.NoError(t, c.Wait(t.Context()))
}

type failing struct{ after int }

var errDisk = errors.New("disk is full")

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

// The container goes on, and its log has everything.
func TestWriterFails(t *testing.T) {
	t.Parallel()
	cfg := sh("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit $CODE")
	cfg.Stdout = &failing{after: 1000}
	c := containertest.Run(t, busybox(t), cfg)
	require.ErrorIs(t, c.Wait(t.Context()), errDisk)
	require.Equal(t, 20000, strings.Count(logs(t, c), "\n"))

	cfg.Stdout = &failing{}
	cfg.Env = []string{"CODE=3"}
	c = containertest.Run(t, busybox(t), cfg)
	var exit *container.ExitError
	require.ErrorAs(t, c.Wait(t.Context()), &exit, "how the program ended is the greater news")
}

// A writer that never returns holds up Wait, as with os/exec, but not Close.
func TestWriterBlocks(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes the 5 seconds that Close gives a writer")
	}
	r, w := io.Pipe()
	defer r.Close()
	cfg := sh("echo hello")
	cfg.Stdout = w
	c, err := busybox(t).Run(t.Context(), cfg)
	require.NoError(t, err)
	says(t, c, "hello") // the log has it first, so the writer is next
	waited := make(chan error, 1)
	go func() { waited <- c.Wait(t.Context()) }()
	require.NoError(t, c.Stop(t.Context()))
	began := time.Now()
	require.NoError(t, c.Close())
	require.Less(t, time.Since(began), 15*time.Second)
	require.ErrorContains(t, <-waited, "did not return before the container was closed")
}

// sum counts and hashes what is written.
type sum struct {
	hash.Hash
	n int64
}

func (s *sum) Write(p []byte) (int, error) {
	s.n += int64(len(p))
	return s.Hash.Write(p)
}

func TestBigOutput(t *testing.T) {
	t.Parallel()
	mib := 200
	if testing.Short() {
		mib = 8
	}
	out := &sum{Hash: sha256.New()}
	cfg := sh(fmt.Sprintf("yes 0123456789abcde | head -c %d", mib<<20))
	cfg.Stdout, cfg.LogLimit = out, -1
	c := containertest.Run(t, busybox(t), cfg)
	require.NoError(t, c.Wait(t.Context()))

	want := sha256.New()
	for range mib {
		want.Write(bytes.Repeat([]byte("0123456789abcde\n"), 1<<16))
	}
	require.EqualValues(t, mib<<20, out.n)
	require.Equal(t, hex.EncodeToString(want.Sum(nil)), hex.EncodeToString(out.Sum(nil)))
	logged := &sum{Hash: sha256.New()}
	r, err := c.Logs(t.Context(), nil)
	require.NoError(t, err)
	defer r.Close()
	_, err = io.Copy(logged, r)
	require.NoError(t, err)
	require.Equal(t, out.n, logged.n)
	require.Equal(t, out.Sum(nil), logged.Sum(nil))
}

func TestTTY(t *testing.T) {
	t.Parallel()
	img := busybox(t)
	cfg := sh("tty; echo $TERM; echo err >&2")
	cfg.TTY = true
	var out bytes.Buffer
	cfg.Stdout = &out
	c := containertest.Run(t, img, cfg)
	require.NoError(t, c.Wait(t.Context()))
	require.Equal(t, "/dev/pts/0\r\nxterm\r\nerr\r\n", out.String())
	require.Equal(t, out.String(), logs(t, c))

	t.Run("stdin", func(t *testing.T) {
		cfg := sh("read line; echo got $line; exit 5")
		var out bytes.Buffer
		cfg.TTY, cfg.Stdin, cfg.Stdout = true, strings.NewReader("hello\n"), &out
		var exit *container.ExitError
		require.ErrorAs(t, containertest.Run(t, img, cfg).Wait(t.Context()), &exit)
		require.Equal(t, 5, exit.Code)
		require.Equal(t, "hello\r\ngot hello\r\n", out.String())
	})
	require.Equal(t, "not a tty\n", stdout(t, img, sh("tty || true")))
}
