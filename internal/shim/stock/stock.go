// Package stock lets a stock containerd run the shim: the verbs that it
// executes the shim's file with, and what it expects of their output
// (containerd, core/runtime/v2/README.md).
package stock

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ctorhq/ctor/internal/bundle"
	"github.com/ctorhq/ctor/internal/shim/link"
	"github.com/ctorhq/ctor/internal/shim/task"
)

// sockets is where containerd looks for nothing, but puts its own: the path is
// told it.
const sockets = "/run/containerd/s"

// call is what containerd says when it executes the shim.
type call struct{ namespace, id, address, bundle string }

// Run answers one call, given by its arguments, without the program's name.
// It reports whether it was one. describe tells what runs the containers.
func Run(args []string, out io.Writer, describe func() (task.About, error)) (bool, error) {
	var c call
	var info bool
	f := flag.NewFlagSet(link.Name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&c.namespace, "namespace", "", "")
	f.StringVar(&c.id, "id", "", "")
	f.StringVar(&c.address, "address", "", "")
	f.StringVar(&c.bundle, "bundle", "", "")
	f.String("publish-binary", "", "")
	f.Bool("debug", false, "")
	f.BoolVar(&info, "info", false, "")
	if err := f.Parse(args); err != nil {
		return false, err
	}
	if info {
		return true, tell(out, describe)
	}
	if f.NArg() != 1 {
		return false, nil
	}
	switch f.Arg(0) {
	case "start":
		return true, c.start(out)
	case "delete":
		return true, c.delete(out)
	}
	return false, nil
}

// start starts the shim of one container and tells its address.
func (c call) start(out io.Writer) (err error) {
	if c.namespace == "" || c.id == "" {
		return errors.New("start: namespace and id are needed")
	}
	path := c.socket()
	if err := os.MkdirAll(sockets, 0o711); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	listener, err := l.File()
	if err != nil {
		return err
	}
	defer listener.Close()
	address := "unix://" + path
	// containerd finds the shim again by this file, after it was restarted.
	if err := os.WriteFile("address", []byte(address), 0o600); err != nil {
		return err
	}
	if err := c.spawn(listener); err != nil {
		return err
	}
	_, err = io.WriteString(out, address)
	return err
}

// socket is the container's own path, short whatever its id.
func (c call) socket() string {
	sum := sha256.Sum256([]byte(c.address + "\x00" + c.namespace + "\x00" + c.id))
	return filepath.Join(sockets, fmt.Sprintf("ctor-%x", sum[:12]))
}

// spawn leaves the serving process behind, with containerd's log for its
// errors.
func (c call) spawn(listener *os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	log, err := os.OpenFile("log", os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		log = null
	} else {
		defer log.Close()
	}
	p, err := os.StartProcess("/proc/self/exe", []string{link.Name, link.Stock}, &os.ProcAttr{
		Env:   append(os.Environ(), link.NamespaceEnv+"="+c.namespace),
		Files: []*os.File{null, null, log, listener},
		Sys:   &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNS},
	})
	if err != nil {
		return err
	}
	return errors.Join(prefer(p.Pid), p.Release())
}

// prefer has the kernel, when it runs out of memory, kill a process rather than
// the containerd that has executed this one, as containerd's own shim does.
func prefer(pid int) error {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", os.Getppid()))
	if err != nil {
		return err
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return err
	}
	return os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(min(score+1, 1000))), 0)
}

// delete undoes a container whose shim is dead.
func (c call) delete(out io.Writer) error {
	dir := c.bundle
	if dir == "" {
		var err error
		if dir, err = os.Getwd(); err != nil {
			return err
		}
	}
	err := bundle.Sweep(dir)
	// Made by a shim of an older version, perhaps, in the host's namespace.
	if uerr := mount.UnmountRecursive(bundle.Rootfs(dir), unix.MNT_DETACH); uerr != nil && !errors.Is(uerr, fs.ErrNotExist) {
		err = errors.Join(err, uerr)
	}
	if rerr := os.Remove(c.socket()); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	if err != nil {
		return err
	}
	b, err := proto.Marshal(&taskapi.DeleteResponse{
		ExitStatus: 128 + uint32(unix.SIGKILL),
		ExitedAt:   timestamppb.New(time.Now()),
	})
	if err != nil {
		return err
	}
	_, err = out.Write(b)
	return err
}
