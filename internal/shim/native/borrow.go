package native

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/native/forker"
)

// borrow shows the container a node of the host's: in a user namespace none can be
// made. Who may use it is as on the host.
func (l *layout) borrow(d specs.LinuxDevice) error {
	from, err := hostNode(d)
	if err != nil {
		return err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, from, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return &os.PathError{Op: "open device", Path: from, Err: err}
	}
	l.Own(fd)
	if !isDevice(fd, d) { // it was another thing by then
		return fmt.Errorf("device %s: %s has become another: %w", d.Path, from, errdefs.ErrUnavailable)
	}
	l.Attach(fd, forker.File, path.Clean("/"+d.Path))
	return nil
}

// hostNode finds a node on the host: by the name that the container's has, or that the
// kernel has for the device.
func hostNode(d specs.LinuxDevice) (string, error) {
	for _, name := range []string{d.Path, kernelName(d)} {
		fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		found := isDevice(fd, d)
		unix.Close(fd)
		if found {
			return name, nil
		}
	}
	return "", fmt.Errorf("device %s: a user namespace has no device nodes of its own, and the host none for %s %d:%d: %w",
		d.Path, d.Type, d.Major, d.Minor, errdefs.ErrUnavailable)
}

// kernelName is what the kernel calls a device in /dev.
func kernelName(d specs.LinuxDevice) string {
	kind := "char"
	if d.Type == "b" {
		kind = "block"
	}
	b, _ := os.ReadFile(fmt.Sprintf("/sys/dev/%s/%d:%d/uevent", kind, d.Major, d.Minor))
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if name, ok := strings.CutPrefix(s.Text(), "DEVNAME="); ok {
			return path.Join("/dev", name)
		}
	}
	return ""
}

func isDevice(fd int, d specs.LinuxDevice) bool {
	var st unix.Stat_t
	kind := uint32(unix.S_IFCHR)
	if d.Type == "b" {
		kind = unix.S_IFBLK
	}
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == kind &&
		int64(unix.Major(st.Rdev)) == d.Major && int64(unix.Minor(st.Rdev)) == d.Minor
}
