package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/pkg/sys/reaper"
	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"
)

// What a shim inherits.
const (
	fdTasks    = 3 // a connection, or, detached, a listener
	fdEvents   = 4
	fdLifeline = 5
)

// serve is main in the shim process. Events carry the namespace: the shim's
// service knows containers by their id alone, so a shim serves one namespace.
func serve(kind, namespace string) error {
	// The mount namespace is a copy of the program's. Mounts made here stay
	// here; mounts the host makes later still arrive, for bind mounts.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// runc create leaves the container's init to the nearest subreaper.
	if err := reaper.SetSubreaper(1); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	go reap()
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE)

	ctx, sd := shutdown.WithShutdown(namespaces.WithNamespace(context.Background(), namespace))
	defer sd.Shutdown()
	p := newPublisher()
	if kind == "attached" {
		c, err := inherit(fdEvents, net.FileConn)
		if err != nil {
			return err
		}
		p.client = ttrpc.NewClient(c)
	}
	runc, err := task.NewTaskService(ctx, p, sd)
	if err != nil {
		return fmt.Errorf("start task service: %w", err)
	}
	svc := newLedger(runc)
	server, err := ttrpc.NewServer()
	if err != nil {
		return err
	}
	taskapi.RegisterTTRPCTaskService(server, svc)
	l, err := listener(kind)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ctx, l) }()

	switch kind {
	case "attached":
		// Whatever happens to the connection, the program's end is this.
		_, _ = io.Copy(io.Discard, os.NewFile(fdLifeline, "lifeline"))
		return svc.undo(ctx)
	default:
		select {
		case <-sd.Done():
			return nil
		case err := <-failed:
			return err
		}
	}
}

func listener(kind string) (net.Listener, error) {
	if kind == "detached" {
		return inherit(fdTasks, net.FileListener)
	}
	c, err := inherit(fdTasks, net.FileConn)
	if err != nil {
		return nil, err
	}
	return newSingle(c), nil
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

// reap collects the dead and tells containerd's service about them.
func reap() {
	c := make(chan os.Signal, 32)
	signal.Notify(c, syscall.SIGCHLD)
	for range c {
		for errors.Is(reaper.Reap(), syscall.EINTR) {
		}
	}
}
