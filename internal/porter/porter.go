// Package porter makes the connections of a container that outlives its program.
// A porter is a process of its own, the program executed again. It has a policy
// that is data (package egress), serves one life of the container, and ends with
// its first process, whatever ends that.
package porter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/pidfd"
	"github.com/ctorhq/ctor/internal/reexec"
	"github.com/ctorhq/ctor/internal/slate"
	"github.com/ctorhq/ctor/internal/wayout"
)

// role is the program's as a porter, and name what the process calls itself.
const (
	role = "porter"
	name = "ctor-porter"
)

// What a porter inherits.
const (
	program = 3 // a connection to the program, until the way is open
	process = 4 // a pidfd of the container's first process
)

// patience is how long a porter may take to open the way.
const patience = 30 * time.Second

// An order is what the program asks for, and an answer what becomes of it.
type order struct {
	Container string
	Policy    json.RawMessage
}

type answer struct {
	Error       string
	Unavailable bool
}

// Start has a porter open the way out of the container whose first process is
// given as a pidfd, by a policy as egress.Marshal gives it, and returns when it is
// open. dir is the porter's working directory. The porter is a child of this
// program, which takes note of its end for as long as life lasts.
func Start(life context.Context, first *os.File, container string, policy []byte, dir string) error {
	if err := start(life, first, container, policy, dir); err != nil {
		return fmt.Errorf("way out that outlives the program: %w", err)
	}
	return nil
}

func start(life context.Context, first *os.File, container string, policy []byte, dir string) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name)
	defer ours.Close()
	defer theirs.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	fd := -1
	child, err := slate.Start(reexec.Self, reexec.Args(name, role, container), &os.ProcAttr{
		Dir:   dir,
		Env:   slate.Environ([]string{"PATH", "GORACE"}),
		Files: []*os.File{null, null, null, theirs, first},
		Sys:   &syscall.SysProcAttr{Setsid: true, PidFD: &fd},
	})
	if err != nil {
		return err
	}
	defer child.Release()
	theirs.Close()
	ended, err := pidfd.File(fd)
	if err != nil {
		_ = child.Kill()
		return err
	}
	go reap(life, ended)
	if err := ask(ours, order{container, policy}); err != nil {
		_ = child.Kill()
		return err
	}
	return nil
}

// reap waits for a child's end, or life's. A child that lives on then is reaped
// by init, once this program has ended.
func reap(life context.Context, child *os.File) {
	defer context.AfterFunc(life, func() { child.Close() })()
	defer child.Close()
	if pidfd.Wait(child) == nil {
		pidfd.Reap(child)
	}
}

// ask gives the order, and waits until the way is open.
func ask(f *os.File, o order) error {
	c, err := net.FileConn(f)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if err := json.NewEncoder(c).Encode(o); err != nil {
		return err
	}
	var a answer
	switch err := json.NewDecoder(c).Decode(&a); {
	case err != nil:
		return fmt.Errorf("the process that is to make it did not answer: %w", err)
	case a.Unavailable:
		return fmt.Errorf("%s: %w", a.Error, errdefs.ErrUnavailable)
	case a.Error != "":
		return errors.New(a.Error)
	}
	return nil
}

// The program is caught here when it is executed again.
func init() {
	reexec.Role{Name: role, Trust: func() error { return reexec.SameProgram(program) }, Run: run}.Hook()
}

// run is the porter.
func run([]string) error {
	if err := slate.Settle(process); err != nil {
		return err
	}
	unix.CloseOnExec(program)
	unix.CloseOnExec(process)
	f := os.NewFile(program, name)
	c, err := net.FileConn(f)
	if err != nil {
		return err
	}
	f.Close()
	first, err := pidfd.File(process)
	if err != nil {
		return err
	}
	w, err := open(c, first)
	a := answer{}
	if err != nil {
		a = answer{err.Error(), errdefs.IsUnavailable(err)}
	}
	if err := errors.Join(err, json.NewEncoder(c).Encode(a), c.Close()); err != nil {
		return err
	}
	defer w.Close()
	return pidfd.Wait(first)
}

func open(c net.Conn, first *os.File) (io.Closer, error) {
	_ = c.SetDeadline(time.Now().Add(patience))
	var o order
	if err := json.NewDecoder(c).Decode(&o); err != nil {
		return nil, err
	}
	d, err := egress.Unmarshal(o.Policy)
	if err != nil {
		return nil, err
	}
	source := func(ctx context.Context, from netip.AddrPort) context.Context {
		return egress.WithSource(ctx, egress.Source{Container: o.Container, Addr: from})
	}
	return wayout.Open(first, func(ctx context.Context, network, address string, from netip.AddrPort) (net.Conn, error) {
		return d(source(ctx, from), network, address)
	}, func(ctx context.Context, name string, from netip.AddrPort) bool {
		return egress.Forwards(source(ctx, from), d, name)
	}, nil)
}
