package containertest

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
)

// A broom is a second process of the test binary that waits for the first to
// end, however it ends, and removes what it leaves: go test has no hook that
// would, and a binary that is killed or panics runs no code any more.
type broom struct {
	cmd  *exec.Cmd
	life io.Closer // held until the process ends
}

// broomName is what the binary is called when it is a broom.
const broomName = "ctor-containertest-broom"

// The binary is caught here when it is executed again, before the tests.
func init() {
	if os.Args[0] != broomName || len(os.Args) != 2 {
		return
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := sweep(os.Args[1]); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

func newBroom(root string) (*broom, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{broomName, root}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // ^C is for the tests
	life, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &broom{cmd: cmd, life: life}, cmd.Start()
}

// Close ends the broom when there is nothing left for it to do.
func (b *broom) Close() error { return errors.Join(b.life.Close(), b.cmd.Wait()) }

// sweep removes an engine's root whose program has ended. The next Open of a
// root waits for the shims and undoes what they did not; containers that would
// outlive the program are here of no use to anybody.
func sweep(root string) error {
	if _, err := os.Stat(root); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := empty(root); err != nil {
		return err // what is left can be found again, by whoever opens the root
	}
	return os.RemoveAll(root)
}

func empty(root string) error {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: root})
	if err != nil {
		return err
	}
	all, err := container.List(ctx, e)
	errs := []error{err}
	for _, c := range all {
		errs = append(errs, c.Close())
	}
	return errors.Join(append(errs, e.Close())...)
}
