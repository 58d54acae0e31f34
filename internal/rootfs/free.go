package rootfs

import "golang.org/x/sys/unix"

// removal removes something from a directory.
type removal func(dir int, base string) error

// attempt removes what can be removed.
func attempt(dir int, base string, remove removal) error { return remove(dir, base) }

// free removes something even if it, or the directory that it is in, was made
// immutable or append-only, which holds for root as well.
func free(dir int, base string, remove removal) error {
	err := remove(dir, base)
	if err != unix.EPERM {
		return err
	}
	allow(dir)
	var st unix.Stat_t
	if unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return err
	}
	// Others can't be opened without being touched, nor have such an attribute.
	if t := st.Mode & unix.S_IFMT; t == unix.S_IFREG || t == unix.S_IFDIR {
		fd, oerr := unix.Openat(dir, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if oerr != nil {
			return err
		}
		defer unix.Close(fd)
		allow(fd)
	}
	return remove(dir, base)
}

// allow takes away the attributes by which a file can't be changed. Whether it
// could is seen by what is done next.
func allow(fd int) {
	const immutable, appendOnly = 0x10, 0x20 // FS_IMMUTABLE_FL and FS_APPEND_FL of linux/fs.h
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err == nil && flags&(immutable|appendOnly) != 0 {
		_ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags&^(immutable|appendOnly))
	}
}
