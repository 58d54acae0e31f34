package containertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/reexec"
	"github.com/ctorhq/ctor/internal/slate"
)

// A broom is a second process of the test binary that waits for the first to
// end, however it ends, and removes what it leaves: go test has no hook that
// would, and a binary that is killed or panics runs no code any more.
type broom struct {
	cmd  *exec.Cmd
	life *os.File // held until the process ends
}

// broomRole is the binary's role as a broom, and broomName what it calls itself.
const (
	broomRole = "broom"
	broomName = "ctor-containertest-broom"
)

// The binary is caught here when it is executed again, before the tests.
func init() {
	reexec.Role{
		Name:  broomRole,
		Trust: func() error { return reexec.SameProgram(0) },
		Run: func(args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("a broom's arguments can't be %q", args)
			}
			_ = slate.CloseStrays(2)         // it sweeps all the same
			_, _ = os.Stdin.Write([]byte{0}) // for ready, if the tests still run
			_, _ = io.Copy(io.Discard, os.Stdin)
			return sweep(args[0])
		},
	}.Hook()
}

func newBroom(root string) (*broom, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	life, theirs := os.NewFile(uintptr(fds[0]), "broom"), os.NewFile(uintptr(fds[1]), "broom")
	defer theirs.Close()
	cmd := exec.Command(reexec.Self)
	cmd.Args = reexec.Args(broomName, broomRole, root)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // ^C is for the tests
	cmd.Stdin = theirs
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, life.Close())
	}
	return &broom{cmd: cmd, life: life}, nil
}

// ready waits until the broom has seen whose it is. Before, it would not sweep
// what a binary leaves that is killed.
func (b *broom) ready() error {
	if _, err := io.ReadFull(b.life, make([]byte, 1)); err != nil {
		return fmt.Errorf("the process that is to clean up has ended: %w", errors.Join(err, b.Close()))
	}
	return nil
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
		return err // the next engine on the root finds what is left
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
