package containertest

import (
	"context"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
)

var shared struct {
	sync.Mutex
	engine *ctor.Engine
	root   string
	users  int
}

// Engine gives the engine that the tests of a test binary share. It lives in a
// temporary directory and is closed, with everything in it, when the last test
// that uses it ends.
//
// Where the host can't run containers the test fails with what is missing.
func Engine(t testing.TB) *ctor.Engine {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.engine == nil {
		root, err := os.MkdirTemp("", "ctor-test-")
		if err != nil {
			t.Fatalf("containertest: %v", err)
		}
		e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
		if err != nil {
			os.RemoveAll(root)
			t.Fatalf("containertest: %v", err)
		}
		shared.engine, shared.root = e, root
	}
	shared.users++
	t.Cleanup(func() { release(t) })
	return shared.engine
}

func release(t testing.TB) {
	shared.Lock()
	defer shared.Unlock()
	if shared.users--; shared.users > 0 {
		return
	}
	if err := shared.engine.Close(); err != nil {
		t.Errorf("containertest: %v", err)
	}
	if err := os.RemoveAll(shared.root); err != nil {
		t.Errorf("containertest: %v", err)
	}
	shared.engine = nil
}

// Run starts an instance of img that is closed when the test ends. If the
// test has failed by then, the end of the container's log is printed, up to
// 64 KiB.
func Run(t testing.TB, img *image.Image, cfg container.Config) *container.Container {
	t.Helper()
	c, err := img.Run(t.Context(), cfg)
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

func printLog(t testing.TB, c *container.Container) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	text, err := tail(ctx, c)
	if err != nil {
		t.Logf("containertest: %v", err)
	}
	t.Logf("log of container %s:\n%s", c.ID(), text)
}

// tail reads the last bytes of a log, however long it is.
func tail(ctx context.Context, c *container.Container) ([]byte, error) {
	r, err := c.Logs(ctx, nil)
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
