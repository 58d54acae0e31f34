// Package serve is main in a shim process.
package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/link"
	"github.com/ctorhq/ctor/internal/shim/task"
	"github.com/ctorhq/ctor/internal/slate"
)

// Settle comes before anything else in a shim process: it may execute the program
// again. What a containerd gives its shims is containerd's choice.
func Settle(kind string) error {
	switch kind {
	case link.Attached:
		return slate.Settle(link.Events)
	case link.Detached:
		return slate.Settle(link.Lifeline)
	}
	return nil
}

// Run serves containers of an executor until the program that started the
// shim has ended, or, for a detached shim, until its container is deleted.
func Run(kind string, executor task.Executor) error {
	if err := become(); err != nil {
		return err
	}
	if kind != link.Stock {
		unix.CloseOnExec(link.Lifeline)
	}
	if kind == link.Attached {
		if err := hideBundles(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p, err := newPublisher(kind)
	if err != nil {
		return err
	}
	svc := task.New(executor, p, cancel)
	server, err := ttrpc.NewServer()
	if err != nil {
		return err
	}
	register(server, svc)
	l, err := listener(kind)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(requests(kind), l) }()
	if kind == link.Attached {
		// Whatever happens to the connection, the program's end is this.
		awaitEnd()
		return svc.Undo(context.Background())
	}
	if kind == link.Detached {
		svc.EndWithContainer()
		go endUnused(svc)
	}
	select {
	case <-ctx.Done():
	case err := <-failed:
		return err
	}
	if kind == link.Stock {
		removeSocket(l)
	}
	svc.Close()
	hangUp(server)
	return nil
}

// requests is the context of what is asked. A containerd names the namespace of all
// that it asks.
func requests(kind string) context.Context {
	ctx := context.Background()
	if ns := os.Getenv(link.NamespaceEnv); kind == link.Stock && ns != "" {
		ctx = namespaces.WithNamespace(ctx, ns)
	}
	return ctx
}

// endUnused ends a detached shim whose program ends before it has made the
// container: nothing else knows of it.
func endUnused(svc *task.Service) {
	awaitEnd()
	svc.EndUnused()
}

// removeSocket removes the socket of a stock shim: containerd leaves that to it.
func removeSocket(l net.Listener) {
	if path := l.Addr().String(); filepath.IsAbs(path) {
		_ = os.Remove(path)
	}
}

// hideBundles has the bundles in a file system of the shim's own, which goes with
// it. They cost less here, too.
func hideBundles() error {
	if err := unix.Mount("bundles", ".", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700"); err != nil {
		return fmt.Errorf("mount bundle directory: %w", err)
	}
	return os.Chdir("/")
}

// awaitEnd waits until the program has ended.
func awaitEnd() { _, _ = io.Copy(io.Discard, os.NewFile(link.Lifeline, "lifeline")) }

// become makes of the process what a shim has to be.
func become() error {
	// The mount namespace is a copy of the program's. Mounts made here stay
	// here; mounts the host makes later still arrive, for bind mounts.
	err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) {
		return errors.New("the root directory is no mount point, as after a chroot into a plain directory: mount --rbind DIR DIR before chroot DIR")
	}
	if err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// It may be that of the descriptor which the program was executed by. This is
	// for people: where /proc is read-only it stays that.
	_ = os.WriteFile("/proc/self/comm", []byte(link.Name), 0)
	// runc create leaves the container's init to the nearest subreaper.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	// Caught and dropped, not ignored: what is ignored stays so in every process
	// that is executed, down to the containers'.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE)
	return nil
}

// shutdownPatience is how long a shim that is to end answers requests.
const shutdownPatience = time.Second

// hangUp ends a server when the answer to the request to end, which is on its
// way, is out. Other requests get no answer. Shutdown looks only five times a second, so
// it is asked again.
func hangUp(server *ttrpc.Server) {
	for end := time.Now().Add(shutdownPatience); time.Now().Before(end); {
		ctx, stop := context.WithTimeout(context.Background(), 2*time.Millisecond)
		err := server.Shutdown(ctx)
		stop()
		if !errors.Is(err, context.DeadlineExceeded) {
			return
		}
	}
}

func listener(kind string) (net.Listener, error) {
	if kind != link.Attached {
		return inherit(link.Tasks, net.FileListener)
	}
	c, err := inherit(link.Tasks, net.FileConn)
	if err != nil {
		return nil, err
	}
	return link.Listen(c), nil
}

func inherit[T any](fd uintptr, open func(*os.File) (T, error)) (T, error) {
	f := os.NewFile(fd, "inherited")
	defer f.Close()
	t, err := open(f)
	if err != nil {
		return t, fmt.Errorf("descriptor %d: %w", fd, err)
	}
	return t, nil
}
