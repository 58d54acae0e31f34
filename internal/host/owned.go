package host

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/userns"
)

// CheckOwn refuses a directory in which others could have put something: it must
// be this user's, no link, and writable for this user alone. One that is missing
// is fine, and an empty one of this user's is closed to others: a program with a
// umask of 0 makes such directories.
func CheckOwn(dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return nil // the caller that makes it reports why it can't
	case info.Mode().Type() == fs.ModeSymlink:
		target, err := filepath.EvalSymlinks(dir)
		if err != nil {
			target = "another directory"
		}
		return fmt.Errorf("%s is a link, which may come to lead elsewhere (%w): set Config.Root to %s", dir, errdefs.ErrUnavailable, target)
	case owner(info) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d, who may have put anything in it (%w): choose another Config.Root, or if it is empty: chown %d %s",
			dir, owner(info), errdefs.ErrUnavailable, os.Geteuid(), dir)
	case info.Mode()&othersWrite != 0:
		if closed, err := closeEmpty(dir, info.Mode()); closed || err != nil {
			return err
		}
		return fmt.Errorf("%s can be written to by others, its mode is %v (%w): chmod go-w %s", dir, info.Mode(), errdefs.ErrUnavailable, dir)
	}
	return nil
}

// closeEmpty takes from others the right to write to a directory, if it is empty.
// It looks after that, when nothing can come to be there any more.
func closeEmpty(dir string, mode fs.FileMode) (closed bool, err error) {
	all, err := os.ReadDir(dir)
	if err != nil || len(all) > 0 {
		return false, err
	}
	if err := os.Chmod(dir, mode.Perm()&^othersWrite); err != nil {
		return false, err
	}
	all, err = os.ReadDir(dir)
	return err == nil && len(all) == 0, err
}

// CheckWay refuses a path to a directory that others can make lead to another
// one: each directory on the way, and each link, must be root's or this user's,
// and if others may write to the directory, as to /tmp, they must not be able to
// rename what is not theirs (the sticky bit). The path is absolute; what is
// missing of it is fine.
func CheckWay(dir string) error {
	at, rest := "/", strings.Trim(filepath.Dir(dir), "/")
	for links := 0; ; {
		info, err := os.Lstat(at)
		if err != nil {
			return nil // as above
		}
		if o := owner(info); o != 0 && o != os.Geteuid() && !outside(o) {
			return fmt.Errorf("it is reached by %s, which belongs to user %d, who can make it lead elsewhere (%w): choose another Config.Root", at, o, errdefs.ErrUnavailable)
		}
		if info.Mode().Type() == fs.ModeSymlink {
			target, err := os.Readlink(at)
			if links++; err != nil || links > maxLinks {
				return fmt.Errorf("it is reached by the link %s, which leads nowhere (%w): choose another Config.Root", at, errdefs.ErrUnavailable)
			}
			if at = filepath.Dir(at); filepath.IsAbs(target) {
				at = "/"
			}
			rest = target + "/" + rest
		} else if info.Mode()&othersWrite != 0 && info.Mode()&fs.ModeSticky == 0 {
			return fmt.Errorf("it is reached by %s, in which others can rename it, its mode is %v (%w): chmod go-w %s", at, info.Mode(), errdefs.ErrUnavailable, at)
		}
		if rest = strings.Trim(rest, "/"); rest == "" {
			return nil
		}
		var next string
		next, rest, _ = strings.Cut(rest, "/")
		at = filepath.Join(at, next)
	}
}

// outside tells whether an owner may be the host's root, to a program in a user
// namespace without that. Every user who is not in there has the same number: the
// namespace's root can't tell them apart, and has to believe the host that the way to
// its own directory is the host's.
func outside(owner int) bool { return owner == overflowUID && !userns.Own().Host() }

// OwnsSystem tells whether this program, which is root, may keep its files where
// root's are: in a user namespace that may be the host's.
func OwnsSystem() bool {
	return userns.Own().Host() || unix.Access("/var/lib", unix.W_OK) == nil
}

// overflowUID is the kernel's number for users who have none in a namespace.
const overflowUID = 65534

// maxLinks is how many links the kernel follows on the way to one file.
const maxLinks = 40

const othersWrite fs.FileMode = 0o022

func owner(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
