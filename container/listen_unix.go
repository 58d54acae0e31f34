package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path"

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

func (c *Container) listenUnix(ctx context.Context, process *os.File, network, address string) (net.Listener, error) {
	if address == "" || address[0] == '@' {
		return c.listenAbstract(process, network, address)
	}
	root, err := c.root(process)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := bind(ctx, root, network, address)
	if err != nil {
		return nil, err
	}
	t, err := c.tie(f.Close)
	if err != nil {
		return nil, err
	}
	return &unixListener{f.UnixListener, t, &net.UnixAddr{Name: address, Net: network}}, nil
}

func (c *Container) listenAbstract(process *os.File, network, address string) (net.Listener, error) {
	l, err := netns.Listen(process, network, address)
	if err != nil {
		return nil, err
	}
	t, err := c.tie(l.Close)
	if err != nil {
		return nil, err
	}
	return &unixListener{l.(*net.UnixListener), t, l.Addr().(*net.UnixAddr)}, nil
}

// A socketFile is a listener and its name in a directory of a container. The
// directory is held open: by its path it might be another by now.
type socketFile struct {
	*net.UnixListener
	dir  *os.File
	name string
	is   unix.Stat_t
}

// bind makes a socket that everybody may connect to.
func bind(ctx context.Context, root *rootfs.Root, network, address string) (_ *socketFile, err error) {
	dir, name := path.Split(address)
	if name == "" || name == "." || name == ".." {
		return nil, &net.AddrError{Err: "not the path of a socket", Addr: address}
	}
	f := &socketFile{name: name}
	if f.dir, err = root.Find("/" + dir); err != nil {
		return nil, errnoOf(err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, network, fmt.Sprintf("/proc/self/fd/%d/%s", f.dir.Fd(), name))
	if err != nil {
		f.dir.Close()
		return nil, err
	}
	f.UnixListener = l.(*net.UnixListener)
	f.SetUnlinkOnClose(false) // the descriptor in its name may be another then
	if err := f.open(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// open lets everybody connect. Whatever has the name by now, no other than a
// new socket is touched.
func (f *socketFile) open() error {
	fd, err := unix.Openat(int(f.dir.Fd()), f.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("openat", err)
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &f.is); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if f.is.Mode&unix.S_IFMT != unix.S_IFSOCK || f.is.Nlink != 1 || int(f.is.Uid) != os.Geteuid() {
		f.is = unix.Stat_t{}
		return os.NewSyscallError("bind", unix.EADDRINUSE)
	}
	return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), 0o666)
}

// Close removes the socket, unless something else has its name.
func (f *socketFile) Close() error {
	defer f.dir.Close()
	var st unix.Stat_t
	err := unix.Fstatat(int(f.dir.Fd()), f.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && st.Dev == f.is.Dev && st.Ino == f.is.Ino {
		err = os.NewSyscallError("unlinkat", unix.Unlinkat(int(f.dir.Fd()), f.name, 0))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, f.UnixListener.Close())
}
