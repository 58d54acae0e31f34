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
// What a test starts is gone when it ends; what it pulls is there for the other
// tests of the package that run at the same time or right after. A test binary
// that is killed, or runs into its -timeout, takes its containers with it, since
// they are attached; its root in the temporary directory stays.
package containertest
