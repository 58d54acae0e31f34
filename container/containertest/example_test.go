package containertest_test

import (
	"testing"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/image"
)

func Example() {
	_ = func(t *testing.T) { // func TestGreeting(t *testing.T)
		e := containertest.Engine(t)
		img, err := image.Pull(t.Context(), e, "alpine", nil)
		if err != nil {
			t.Fatal(err)
		}
		c := containertest.Run(t, img, container.Config{Args: []string{"echo", "hello"}})
		if err := c.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
