package host

import (
	"fmt"
	"io/fs"
	"os"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Device reads what a device's node on this host says of it, links followed.
func Device(path string) (d specs.LinuxDevice, err error) {
	var st unix.Stat_t
	switch err := unix.Stat(path, &st); {
	case err == unix.ENOENT:
		return d, fmt.Errorf("there is no such file: %w", errdefs.ErrNotFound)
	case err != nil:
		return d, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	kind, ok := map[uint32]string{unix.S_IFCHR: "c", unix.S_IFBLK: "b"}[st.Mode&unix.S_IFMT]
	if !ok {
		return d, fmt.Errorf("it is no device: %w", errdefs.ErrInvalidArgument)
	}
	mode, uid, gid := fs.FileMode(st.Mode&0o7777), st.Uid, st.Gid
	return specs.LinuxDevice{
		Path: path, Type: kind, Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)),
		FileMode: &mode, UID: &uid, GID: &gid,
	}, nil
}

// Disk tells the numbers of a whole disk: the kernel bounds no part of one.
func Disk(path string) (major, minor int64, err error) {
	d, err := Device(path)
	if err != nil {
		return 0, 0, err
	}
	if d.Type != "b" {
		return 0, 0, fmt.Errorf("it is no block device: %w", errdefs.ErrInvalidArgument)
	}
	if _, err := os.Stat(fmt.Sprintf("/sys/dev/block/%d:%d/partition", d.Major, d.Minor)); err == nil {
		return 0, 0, fmt.Errorf("it is a part of a disk: name the whole disk: %w", errdefs.ErrInvalidArgument)
	}
	return d.Major, d.Minor, nil
}
