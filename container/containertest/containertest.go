package containertest

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/engine"
)

// requireEnv turns skips into failures.
const requireEnv = "CONTAINERTEST_REQUIRE"

var shared struct {
	sync.Mutex
	engine *ctor.Engine
	root   string
	broom  *broom
}

// Engine gives the engine that all tests of a test binary share. It lives in a
// temporary directory and stays open until the binary ends, so that what one
// test pulls is there for those after it; no TestMain is needed. See the
// package's comment for how it ends.
//
// The test is skipped where the host can't run containers (ctor.ErrUnavailable),
// with what is missing; with CONTAINERTEST_REQUIRE in the environment, as a CI should
// have it, that fails the test. Everything else that goes wrong fails it anyway.
func Engine(t testing.TB) *ctor.Engine {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.engine == nil {
		if err := open(t.Context()); errors.Is(err, ctor.ErrUnavailable) && os.Getenv(requireEnv) == "" {
			t.Skipf("containertest: %v", err)
		} else if err != nil {
			t.Fatalf("containertest: %v", err)
		}
	}
	return shared.engine
}

// open makes the shared engine. The broom comes first: whatever happens once it
// is ready, the root goes.
func open(ctx context.Context) error {
	root, err := os.MkdirTemp("", "ctor-test-")
	if err != nil {
		return err
	}
	b, err := newBroom(root)
	if err != nil {
		return errors.Join(err, os.RemoveAll(root))
	}
	e, err := ctor.Open(ctx, ctor.Config{Root: root})
	if err != nil {
		return errors.Join(err, os.RemoveAll(root), b.Close())
	}
	if err := b.ready(); err != nil { // it had the time of Open for that
		return errors.Join(err, e.Close(), os.RemoveAll(root))
	}
	if check := engine.Of(e).Preflight; check != nil {
		if err := check(); err != nil {
			return errors.Join(err, e.Close(), os.RemoveAll(root), b.Close())
		}
	}
	shared.engine, shared.root, shared.broom = e, root, b
	return nil
}

// Close closes the shared engine and removes all it has. Only a TestMain that
// looks for what is left of the tests, such as goroutines, calls it, after
// m.Run; else it happens by itself. Without an engine it does nothing; after it
// Engine gives another.
func Close() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.engine == nil {
		return nil
	}
	err := errors.Join(shared.engine.Close(), os.RemoveAll(shared.root), shared.broom.Close())
	shared.engine = nil
	return err
}

// Run starts an instance of img and waits until it is ready, if cfg.Ready says
// what that is. It is closed when the test ends. If the test has failed by
// then, the end of the container's log is printed, up to 64 KiB.
//
// A container that does not become ready fails the test a little before the
// deadline of the test binary (see [testing.T.Deadline]), with the reason and
// the end of the log, rather than with go test's list of goroutines.
func Run(t testing.TB, img *image.Image, cfg container.Config) *container.Container {
	t.Helper()
	ctx, cancel := deadline(t)
	defer cancel()
	c, err := img.Run(ctx, cfg)
	if err != nil {
		t.Fatalf("containertest: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			printLog(t, c)
		}
		if err := c.Close(); err != nil {
			t.Errorf("containertest: %v", err)
		}
	})
	return c
}

// deadline gives t's context with t's deadline, less what it takes to tell of
// it: a tenth of what is left, at most 10 seconds. A benchmark has none.
func deadline(t testing.TB) (context.Context, context.CancelFunc) {
	if t, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if end, ok := t.Deadline(); ok {
			return context.WithDeadline(t.(testing.TB).Context(), end.Add(-min(time.Until(end)/10, 10*time.Second)))
		}
	}
	return context.WithCancel(t.Context())
}

func printLog(t testing.TB, c *container.Container) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	text, err := tail(ctx, c)
	if err != nil {
		t.Logf("containertest: %v", err)
	}
	t.Logf("log of container %s:\n%s", c.Name(), text)
}

// tail reads the last bytes of a log, however long it is.
func tail(ctx context.Context, c *container.Container) ([]byte, error) {
	r, err := c.Logs(ctx, &container.LogOptions{Gap: "[output is missing]"})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	const most = 64 << 10
	var last []byte
	chunk := make([]byte, most)
	for {
		n, err := r.Read(chunk)
		last = append(last, chunk[:n]...)
		last = last[max(0, len(last)-most):]
		if err == io.EOF {
			return last, nil
		}
		if err != nil {
			return last, err
		}
	}
}
