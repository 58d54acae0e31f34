package reach

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netns"
	"github.com/ctorhq/ctor/internal/rootfs"
)

type unixListener struct {
	*net.UnixListener
	tie  *tie
	addr *net.UnixAddr
}

func (l *unixListener) Close() error   { return l.tie.Close() }
func (l *unixListener) Addr() net.Addr { return l.addr }

func (d *door) listenUnix(ctx context.Context, process *os.File, network, address string) (net.Listener, error) {
	if address == "" || address[0] == '@' {
		return d.listenAbstract(process, network, address)
	}
	root, err := d.root(ctx, process)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := bind(ctx, root, network, address)
	if err != nil {
		return nil, err
	}
	t, err := d.tie(f.Close)
	if err != nil {
		return nil, err
	}
	return &unixListener{f.UnixListener, t, &net.UnixAddr{Name: address, Net: network}}, nil
}

func (d *door) listenAbstract(process *os.File, network, address string) (net.Listener, error) {
	l, err := netns.Listen(process, network, address)
	if err != nil {
		return nil, err
	}
	t, err := d.tie(l.Close)
	if err != nil {
		return nil, err
	}
	return &unixListener{l.(*net.UnixListener), t, l.Addr().(*net.UnixAddr)}, nil
}

// A socketFile is a listener and its name in a directory of a container.
type socketFile struct {
	*net.UnixListener
	dir  *os.File
	path string // through dir: by its name in the container that might be another by now
	is   fs.FileInfo
}

// bind makes a socket that every process may connect to.
func bind(ctx context.Context, root *rootfs.Root, network, address string) (_ *socketFile, err error) {
	dir, name := path.Split(address)
	if name == "" || name == "." || name == ".." {
		return nil, &net.AddrError{Err: "not the path of a socket", Addr: address}
	}
	f := &socketFile{}
	if f.dir, err = root.Find("/" + dir); err != nil {
		return nil, errnoOf(err)
	}
	f.path = fmt.Sprintf("/proc/self/fd/%d/%s", f.dir.Fd(), name)
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, network, f.path)
	if errors.Is(err, syscall.EADDRINUSE) && abandoned(f.path) && os.Remove(f.path) == nil {
		l, err = lc.Listen(ctx, network, f.path)
	}
	if err != nil {
		f.dir.Close()
		return nil, err
	}
	f.UnixListener = l.(*net.UnixListener)
	f.SetUnlinkOnClose(false) // it would not look what it removes
	if err := f.open(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// open lets every process connect. If something else has the name by now, that is
// not touched.
func (f *socketFile) open() error {
	socket, err := os.OpenFile(f.path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return errnoOf(err)
	}
	defer socket.Close()
	is, err := socket.Stat()
	if err != nil {
		return err
	}
	st := is.Sys().(*syscall.Stat_t)
	if is.Mode().Type() != fs.ModeSocket || st.Nlink != 1 || int(st.Uid) != os.Geteuid() {
		return os.NewSyscallError("bind", syscall.EADDRINUSE)
	}
	f.is = is
	file := fmt.Sprintf("/proc/self/fd/%d", socket.Fd())
	// Not every file system keeps the mark. There the name stays taken if this
	// program is killed, as it would be with package net.
	_ = unix.Setxattr(file, listenerMark, []byte("listened"), 0)
	return os.Chmod(file, 0o666)
}

// listenerMark is the attribute of a socket that a program listened on. No
// process of a container can set it.
const listenerMark = "trusted.ctor.listener"

// abandoned tells whether a file is a socket of a program that was killed before
// it could remove it. A socket of a container's process is never taken for one:
// that may be about to listen.
func abandoned(path string) bool {
	socket, err := os.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer socket.Close()
	file := fmt.Sprintf("/proc/self/fd/%d", socket.Fd())
	if _, err := unix.Getxattr(file, listenerMark, nil); err != nil {
		return false
	}
	// For datagrams: a process that accepts connections gets none, and gives an error
	// other than ECONNREFUSED.
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: file}) == unix.ECONNREFUSED
}

// Close removes the socket, unless something else has its name.
func (f *socketFile) Close() error {
	defer f.dir.Close()
	var err error
	if is, serr := os.Lstat(f.path); serr == nil && f.is != nil && os.SameFile(is, f.is) {
		err = os.Remove(f.path)
	}
	return errors.Join(err, f.UnixListener.Close())
}
