package rootfs

import (
	"bytes"
	"strings"

	"golang.org/x/sys/unix"
)

// kept tells of an extended attribute whether it goes along with a copy. Others
// are overlay's own, or say what the policy of one host thinks of the file.
func kept(name string) bool {
	switch space, rest, _ := strings.Cut(name, "."); space {
	case "user", "trusted":
		return !strings.HasPrefix(rest, "overlay.")
	case "security":
		return rest == "capability"
	case "system":
		return strings.HasPrefix(rest, "posix_acl_")
	}
	return false
}

// xattrs gives the extended attributes of a file that go along with a copy.
// None may be set on a symbolic link, and path leads to what is no link.
func xattrs(path string) (map[string]string, error) { return attributes(path, kept) }

// attributes gives those extended attributes of a file that are wanted.
func attributes(path string, wanted func(name string) bool) (map[string]string, error) {
	list, err := grow(func(buf []byte) (int, error) { return unix.Listxattr(path, buf) })
	if unsupported(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all map[string]string
	for name := range strings.SplitSeq(string(list), "\x00") {
		if name == "" || !wanted(name) {
			continue
		}
		value, err := grow(func(buf []byte) (int, error) { return unix.Getxattr(path, name, buf) })
		if err == unix.ENODATA || unsupported(err) {
			continue // it was removed just now
		}
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = map[string]string{}
		}
		all[name] = string(value)
	}
	return all, nil
}

// setXattrs sets what a file system takes.
func setXattrs(path string, all map[string]string) error {
	for name, value := range all {
		if !kept(name) {
			continue
		}
		if err := unix.Setxattr(path, name, []byte(value), 0); err != nil && !unsupported(err) {
			return err
		}
	}
	return nil
}

func unsupported(err error) bool { return err == unix.ENOTSUP || err == unix.ENOSYS }

// grow reads something whose size is known only when it has been read.
func grow(read func([]byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := read(buf)
		if err == unix.ERANGE && size < 1<<20 { // the kernel's bound is 64 KiB
			continue
		}
		return bytes.Clone(buf[:max(n, 0)]), err
	}
}
