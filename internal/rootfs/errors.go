package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// ErrNotRegular is the error for what is not a regular file.
var ErrNotRegular error = &classed{errors.New("not a regular file"), []error{fs.ErrInvalid, errdefs.ErrInvalidArgument}}

func notRegular(mode uint32) error {
	kind := "unknown"
	switch mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK:
		kind = "device"
	case unix.S_IFIFO:
		kind = "named pipe"
	case unix.S_IFSOCK:
		kind = "socket"
	case unix.S_IFLNK:
		kind = "symbolic link"
	}
	return fmt.Errorf("it is a %s, %w", kind, ErrNotRegular)
}

// classed is an error with further classes for errors.Is, which its text does not
// mention.
type classed struct {
	error
	classes []error
}

func (c *classed) Unwrap() []error { return append(c.classes, c.error) }

// classes are those that the kernel's errors have beside package fs's.
var classes = map[error][]error{
	unix.ENOENT:       {errdefs.ErrNotFound},
	unix.EEXIST:       {errdefs.ErrAlreadyExists},
	unix.EINVAL:       {errdefs.ErrInvalidArgument, fs.ErrInvalid},
	unix.EISDIR:       {errdefs.ErrInvalidArgument},
	unix.ENOTDIR:      {errdefs.ErrInvalidArgument},
	unix.ELOOP:        {errdefs.ErrInvalidArgument},
	unix.ENAMETOOLONG: {errdefs.ErrInvalidArgument},
	unix.EACCES:       {errdefs.ErrPermissionDenied},
	unix.EPERM:        {errdefs.ErrPermissionDenied},
	unix.EROFS:        {errdefs.ErrPermissionDenied},
	unix.ENOSPC:       {errdefs.ErrUnavailable},
	unix.EDQUOT:       {errdefs.ErrUnavailable},
	fs.ErrInvalid:     {errdefs.ErrInvalidArgument},
}

// Failure says from which call on which file an error comes, as package os does,
// and gives the error its class.
func Failure(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if p, ok := err.(*fs.PathError); ok {
		op, err = p.Op, p.Err
	}
	for known, c := range classes {
		if errors.Is(err, known) {
			return &fs.PathError{Op: op, Path: name, Err: &classed{err, c}}
		}
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// CheckName refuses what is not a name of io/fs.
func CheckName(op, name string) error {
	if fs.ValidPath(name) {
		return nil
	}
	err := errors.New("not a name of io/fs")
	if clean := strings.TrimPrefix(path.Clean("/"+name), "/"); clean != "" && fs.ValidPath(clean) {
		err = fmt.Errorf("%w, which would be %q", err, clean)
	}
	return Failure(op, name, &classed{err, []error{fs.ErrInvalid}})
}
