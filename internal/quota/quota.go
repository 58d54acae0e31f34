// Package quota bounds what directories may hold together, by project quotas of the
// file system that they are in: ext4's and xfs's, where it was mounted with prjquota.
// What is beyond the kernel refuses with EDQUOT, xfs with ENOSPC, as if the disk were
// full.
package quota

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/mountinfo"
)

// ErrUnsupported is the class of a file system that has no project quotas on.
var ErrUnsupported = fmt.Errorf("its file system has no project quotas on: %w", errors.ErrUnsupported)

// Numbers of projects that are taken: few programs have any, and they begin low.
const first, last = 1 << 30, 1 << 31

// Files is how many files, directories and links fit into a bound of bytes: one for each
// 4 KiB, and a thousand at least. Empty ones take up no bytes, and the file system has
// only so many.
func Files(bytes int64) int64 { return max(bytes/4096, 1000) }

// Set bounds what is in empty directories of one file system, and what comes to be in
// them, to bytes together, and to the Files that fit into those. The project that it gives is for Drop.
func Set(bytes int64, dirs ...string) (project uint32, err error) {
	f, err := open(dirs[0])
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for range 100 {
		project = first + uint32(rand.Int32N(last-first))
		q, err := get(f, project)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrUnsupported, err)
		}
		if q.hard == 0 && q.used == 0 && q.many == 0 {
			break // nobody's
		}
	}
	if err := set(f, project, bytes); err != nil {
		return 0, err
	}
	for _, dir := range dirs {
		if err := join(dir, project); err != nil {
			return 0, errors.Join(err, set(f, project, 0))
		}
	}
	return project, nil
}

// Drop takes away the bound of a project, whose directories are gone; dir is another
// one of their file system.
func Drop(dir string, project uint32) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return set(f, project, 0)
}

// open opens a directory of a file system that has project quotas on. One that only
// counts would not refuse anything.
func open(dir string) (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	all, err := mountinfo.Read()
	if err != nil {
		return nil, err
	}
	device := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	if !slices.ContainsFunc(all, func(m mountinfo.Mount) bool {
		words := strings.Split(m.Options, ",")
		return m.Device == device && (slices.Contains(words, "prjquota") || slices.Contains(words, "pquota"))
	}) {
		return nil, ErrUnsupported
	}
	return os.Open(dir)
}

// attributes are struct fsxattr of linux/fs.h.
type attributes struct {
	flags, extent, extents, project, cow uint32
	_                                    [8]byte
}

const (
	getAttributes = 0x801c581f // FS_IOC_FSGETXATTR
	setAttributes = 0x401c5820 // FS_IOC_FSSETXATTR
	inherit       = 0x200      // FS_XFLAG_PROJINHERIT
)

// join makes a directory, and what is made in it later, a project's.
func join(dir string, project uint32) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	var a attributes
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), getAttributes, uintptr(unsafe.Pointer(&a))); e != 0 {
		return &os.PathError{Op: "read project of", Path: dir, Err: e}
	}
	a.project, a.flags = project, a.flags|inherit
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), setAttributes, uintptr(unsafe.Pointer(&a))); e != 0 {
		return &os.PathError{Op: "set project of", Path: dir, Err: e}
	}
	return nil
}

// block is struct if_dqblk of linux/quota.h.
type block struct {
	hard, soft         uint64 // KiB
	used               uint64 // bytes
	files, fewer, many uint64 // hard and soft bound, and how many there are
	grace, graces      uint64
	valid              uint32
}

const (
	getQuota, setQuota = 0x800007, 0x800008
	ofProjects         = 2
	limits             = 1 | 4 // QIF_BLIMITS, QIF_ILIMITS
)

func get(f *os.File, project uint32) (q block, err error) {
	err = control(f, getQuota, project, &q)
	if errors.Is(err, unix.ENOENT) { // xfs of a project that nothing was ever known of
		err = nil
	}
	return q, err
}

// set sets the bound; 0 is none.
func set(f *os.File, project uint32, bytes int64) error {
	q := block{valid: limits}
	if bytes > 0 {
		q.hard, q.files = uint64(bytes+1023)/1024, uint64(Files(bytes))
	}
	q.soft, q.fewer = q.hard, q.files
	return control(f, setQuota, project, &q)
}

// control is quotactl_fd(2), since Linux 5.14.
func control(f *os.File, command uintptr, project uint32, q *block) error {
	_, _, e := unix.Syscall6(unix.SYS_QUOTACTL_FD, f.Fd(), command<<8|ofProjects, uintptr(project), uintptr(unsafe.Pointer(q)), 0, 0)
	if e != 0 {
		return os.NewSyscallError("quotactl", e)
	}
	return nil
}
