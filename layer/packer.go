package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// packer is the tar of a file system, written while it is read. It is pulled, not
// pushed through a pipe: so there is no goroutine that could be left behind, and
// closing it early costs nothing.
type packer struct {
	fsys  fs.FS
	opts  Options // normalized
	todo  []entry // a stack, the next one on top
	buf   bytes.Buffer
	tw    *tar.Writer // into buf
	chunk []byte

	file fs.File // being copied; nil between entries
	name string  // of file
	left int64   // bytes of file still to come

	err error // once buf is drained
}

// entry is something of the file system that is still to be written.
type entry struct {
	name string // in the file system
	d    fs.DirEntry
}

func newPacker(fsys fs.FS, opts Options) *packer {
	p := &packer{fsys: fsys, opts: opts, chunk: make([]byte, 64<<10)}
	p.tw = tar.NewWriter(&p.buf)
	p.err = p.pushDir(".")
	return p
}

func (p *packer) Read(b []byte) (int, error) {
	for p.buf.Len() == 0 {
		if p.err != nil {
			return 0, p.err
		}
		p.err = p.step()
	}
	return p.buf.Read(b)
}

// step puts something into buf, or returns why there is no more.
func (p *packer) step() error {
	if p.file != nil {
		if err := p.copyChunk(); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		return nil
	}
	if last := len(p.todo) - 1; last >= 0 {
		e := p.todo[last]
		p.todo = p.todo[:last]
		if err := p.add(e); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		return nil
	}
	if err := p.tw.Close(); err != nil {
		return err
	}
	return io.EOF
}

// pushDir puts what a directory holds on the stack, the first name on top. What
// ReadDir returns is checked: names and order decide over the digest, and not
// every file system keeps the rules.
func (p *packer) pushDir(dir string) error {
	list, err := fs.ReadDir(p.fsys, dir)
	if err != nil {
		return err
	}
	// Sorted into a new slice: the old one may be the file system's own.
	list = slices.SortedFunc(slices.Values(list), func(a, b fs.DirEntry) int { return strings.Compare(b.Name(), a.Name()) })
	for i, d := range list {
		name := d.Name()
		switch {
		case !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "/\x00"):
			return fmt.Errorf("%q is not a name that io/fs allows: %w", name, errdefs.ErrInvalidArgument)
		case i > 0 && name == list[i-1].Name():
			return fmt.Errorf("%q is listed twice: %w", name, errdefs.ErrInvalidArgument)
		}
		p.todo = append(p.todo, entry{name: path.Join(dir, name), d: d})
	}
	return nil
}

// add writes the header of an entry and prepares for what follows it.
func (p *packer) add(e entry) error {
	if isWhiteout(e.d.Name()) {
		return fmt.Errorf("%s: %w", whiteoutRule, errdefs.ErrInvalidArgument)
	}
	info, err := e.d.Info()
	if err != nil {
		return err
	}
	name := path.Join(p.opts.Prefix, e.name)
	switch mode := info.Mode(); mode.Type() {
	case fs.ModeDir:
		if err := p.writeHeader(tar.TypeDir, name+"/", p.mode(e.name, mode), "", 0); err != nil {
			return err
		}
		return p.pushDir(e.name)
	case fs.ModeSymlink:
		target, err := fs.ReadLink(p.fsys, e.name)
		if errors.Is(err, fs.ErrInvalid) {
			return fmt.Errorf("symbolic link in a file system without ReadLink: %w: %w", err, errdefs.ErrInvalidArgument)
		}
		if err != nil {
			return err
		}
		if target == "" {
			return fmt.Errorf("symbolic link to nothing: %w", errdefs.ErrInvalidArgument)
		}
		// A link's own mode means nothing, and systems differ on it.
		return p.writeHeader(tar.TypeSymlink, name, 0o777, target, 0)
	case 0:
		if err := p.writeHeader(tar.TypeReg, name, p.mode(e.name, mode), "", info.Size()); err != nil {
			return err
		}
		file, err := p.fsys.Open(e.name)
		if err != nil {
			return err
		}
		p.file, p.name, p.left = file, e.name, info.Size()
		return nil
	default:
		return fmt.Errorf("%v is neither a directory, a regular file nor a symbolic link: %w", mode, errdefs.ErrInvalidArgument)
	}
}

func (p *packer) mode(name string, m fs.FileMode) fs.FileMode {
	if p.opts.Mode == nil {
		return m
	}
	return p.opts.Mode(name, m)
}

func (p *packer) writeHeader(typeflag byte, name string, mode fs.FileMode, link string, size int64) error {
	err := p.tw.WriteHeader(&tar.Header{
		Typeflag: typeflag,
		Name:     name,
		Linkname: link,
		Size:     size,
		Mode:     tarMode(mode),
		Uid:      p.opts.UID,
		Gid:      p.opts.GID,
		ModTime:  p.opts.ModTime,
		// Left to itself, the writer may fall back to GNU's format.
		Format: tar.FormatPAX,
	})
	if err != nil { // buf takes everything, so it is the header
		return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	return nil
}

// tarMode is the mode as POSIX has it in a tar: Go keeps three of its bits elsewhere.
func tarMode(m fs.FileMode) int64 {
	mode := int64(m.Perm())
	if m&fs.ModeSetuid != 0 {
		mode |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		mode |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		mode |= 0o1000
	}
	return mode
}

// copyChunk copies the next bytes of the file, and closes it behind the last. The
// header has promised a size, so a file that has another by now can't be written.
func (p *packer) copyChunk() error {
	if p.left > 0 {
		n, err := io.ReadFull(p.file, p.chunk[:min(p.left, int64(len(p.chunk)))])
		p.left -= int64(n)
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return fmt.Errorf("shrank by %d bytes while being read: %w", p.left, errdefs.ErrDataLoss)
		case err != nil:
			return err
		}
		_, err = p.tw.Write(p.chunk[:n])
		return err
	}
	switch _, err := io.ReadFull(p.file, p.chunk[:1]); {
	case err == nil:
		return fmt.Errorf("grew while being read: %w", errdefs.ErrDataLoss)
	case err != io.EOF:
		return err
	}
	p.closeFile()
	return nil
}

// closeFile closes what was opened for reading, where Close has nothing to say.
func (p *packer) closeFile() {
	if p.file != nil {
		p.file.Close()
		p.file = nil
	}
}

func (p *packer) Close() error {
	p.closeFile()
	p.err = fs.ErrClosed
	p.buf.Reset()
	return nil
}
