package rootfs

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Open opens a file or a directory for reading. Anything else is
// ErrNotRegular, and not touched; so is a file of the kernel's, as in /proc.
func (r *Root) Open(name string) (fs.File, error) {
	f, err := r.open(name)
	return f, Failure("open", name, err)
}

func (r *Root) open(name string) (fs.File, error) {
	h, err := r.find(name, 0, 0)
	if err != nil {
		return nil, err
	}
	defer h.close()
	f, err := h.reopen(name, unix.O_RDONLY)
	if err == nil {
		return f, nil
	}
	if err != unix.EISDIR {
		return nil, err
	}
	d, err := h.openDir(name)
	if err != nil {
		return nil, err
	}
	return dir{d}, nil
}

// openDir opens a directory that is held for reading.
func (h handle) openDir(name string) (*os.File, error) {
	fd, err := unix.Openat(int(h), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// ReadFile gives what a file holds.
func (r *Root) ReadFile(name string) ([]byte, error) {
	b, err := r.readFile(name)
	return b, Failure("open", name, err)
}

// believable is the size that a file may claim to have and be given the memory
// at once. A file of holes claims anything.
const believable = 64 << 20

func (r *Root) readFile(name string) ([]byte, error) {
	f, err := r.openFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Grow(int(min(st.Size(), believable)) + bytes.MinRead)
	for {
		_, err := io.CopyN(&b, f, believable)
		if err == io.EOF {
			return b.Bytes(), nil
		}
		if err == nil {
			err = r.Err()
		}
		if err != nil {
			return nil, err
		}
	}
}

// ReadDir lists a directory in the order of names.
func (r *Root) ReadDir(name string) ([]fs.DirEntry, error) {
	fd, err := r.openat2(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, Failure("open", name, err)
	}
	d := dir{os.NewFile(uintptr(fd), name)}
	defer d.Close()
	list, err := d.ReadDir(-1)
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, Failure("readdir", name, err)
}

// Stat tells what name is, through links.
func (r *Root) Stat(name string) (fs.FileInfo, error) {
	i, err := r.info(name, 0)
	return i, Failure("stat", name, err)
}

// Lstat tells what name is, also if it is a link.
func (r *Root) Lstat(name string) (fs.FileInfo, error) {
	i, err := r.info(name, unix.O_NOFOLLOW)
	return i, Failure("lstat", name, err)
}

func (r *Root) info(name string, flags uint64) (fs.FileInfo, error) {
	h, err := r.find(name, flags, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(h), name)
	defer f.Close()
	return f.Stat()
}

// ReadLink gives what a symbolic link says.
func (r *Root) ReadLink(name string) (target string, err error) {
	err = r.onFile(name, unix.O_NOFOLLOW, func(h handle) error {
		target, err = h.readLink()
		return err
	})
	return target, Failure("readlink", name, err)
}

func (h handle) readLink() (string, error) {
	st, err := h.stat()
	if err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", unix.EINVAL
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(h), "", buf)
	return string(buf[:max(n, 0)]), err
}

// Real gives the name that a name leads to, as far as there is something that
// leads: clean, and from the root.
func (r *Root) Real(name string) string {
	at, rest := ".", name
	for links := 0; rest != ""; {
		var elem string
		elem, rest, _ = strings.Cut(rest, "/")
		next := path.Join("/", at, elem)[1:]
		if next == "" {
			next = "."
		}
		target := ""
		if r != nil && links < maxLinks {
			target, _ = r.ReadLink(next)
		}
		if target == "" {
			at = next
			continue
		}
		links++
		if path.IsAbs(target) {
			at = "."
		}
		rest = target + "/" + rest
	}
	return at
}

// Find holds name as a path, which does nothing to what is there. What has the
// name a moment later may be something else: go on with the descriptor.
func (r *Root) Find(name string) (*os.File, error) {
	h, err := r.find(name, 0, 0)
	if err != nil {
		return nil, Failure("open", name, err)
	}
	f := os.NewFile(uintptr(h), name)
	if err := h.notKernels(); err != nil {
		f.Close()
		return nil, Failure("open", name, err)
	}
	return f, nil
}

// dir is an open directory. It is not an *os.File, whose ReadDir would look up
// names on the host.
type dir struct{ f *os.File }

func (d dir) Stat() (fs.FileInfo, error)            { return d.f.Stat() }
func (d dir) Read(b []byte) (int, error)            { return d.f.Read(b) }
func (d dir) Close() error                          { return d.f.Close() }
func (d dir) SyscallConn() (syscall.RawConn, error) { return d.f.SyscallConn() }
func (d dir) ReadDir(n int) ([]fs.DirEntry, error) {
	for {
		// Unlike ReadDir, this looks at files by their directory's descriptor.
		infos, err := d.f.Readdir(n)
		list := make([]fs.DirEntry, 0, len(infos))
		for _, i := range infos {
			if utf8.ValidString(i.Name()) { // io/fs can't say others
				list = append(list, fs.FileInfoToDirEntry(i))
			}
		}
		if len(list) > 0 || n <= 0 || err != nil {
			return list, err
		}
	}
}
