// Package containertest helps tests that use containers, after
// net/http/httptest.
//
//	func TestGreeting(t *testing.T) {
//		e := containertest.Engine(t)
//		img, err := image.Pull(t.Context(), e, "alpine", nil)
//		if err != nil {
//			t.Fatal(err)
//		}
//		c := containertest.Run(t, img, container.Config{Args: []string{"echo", "hello"}})
//		if err := c.Wait(t.Context()); err != nil {
//			t.Error(err)
//		}
//	}
//
// A container is gone when its test ends. The engine, and the images that were
// pulled into it, are there for all tests of the package, one after the other
// or side by side, and gone within a second or two after the test binary has
// ended, by itself, with a panic, at its -timeout or killed: the containers
// because they are tied to the program, and the directory because a small
// second process, the test binary executed again, waits for that to remove it.
// It removes detached containers of that engine as well.
package containertest
