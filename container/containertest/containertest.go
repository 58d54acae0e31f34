// Package containertest helps tests that use containers, after
// net/http/httptest.
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
// test has failed by then, the container's log is printed.
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
	r, err := c.Logs(ctx, nil)
	if err != nil {
		t.Logf("containertest: %v", err)
		return
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, 64<<10))
	t.Logf("log of container %s (error: %v):\n%s", c.ID(), err, b)
}
