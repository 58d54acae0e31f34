package layer

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// Options says how FromFS writes a file system into a layer. Nil Options are
// those of the zero value.
type Options struct {
	// Prefix is the directory of the image where the file system is put; "" = the
	// root. It is slash-separated; a slash in front or behind is as good as none.
	// It may not hold "..", "//" or a name that starts with ".wh.".
	//
	// Its directories are no entries of the layer, so that one the image has already
	// keeps its mode and owner: /tmp its sticky bit. Where there is none, whatever
	// unpacks the layer makes it, with mode 0755 and owned by root. Where there is a
	// symbolic link, containerd and Docker put a directory in its place.
	Prefix string

	// ModTime is the time of every entry, cut to the second; zero = the Unix
	// epoch. The file system's own times are never used: no two checkouts agree
	// on them.
	ModTime time.Time

	// UID and GID own every entry; zero = root. The file system's own owners are
	// never used.
	UID, GID int

	// Mode, if not nil, is asked for the mode of every directory and regular file
	// of the file system, by its name there. Of what it returns, the permissions
	// and the setuid, setgid and sticky bits count. It must give the same answer
	// each time. Nil = the mode the file system reports.
	//
	// It is needed more often than one thinks: embed.FS reports 0444 for every
	// file, fstest.MapFS reports 0 unless told, and what os.DirFS reports depends
	// on the umask under which the files were written.
	Mode func(name string, mode fs.FileMode) fs.FileMode

	// CreatedBy is the layer's line in the image's history; "" = unknown.
	CreatedBy string

	// Compression says how an image is to store the layer; zero = gzip.
	Compression Compression
}

// FromFS returns the layer that adds what fsys holds: an embed.FS, an os.DirFS, an
// fstest.MapFS, any other. Nil options are the defaults.
//
// The layer takes over names, directories, regular files, symbolic links (where
// fsys is an [fs.ReadLinkFS]; targets are kept as they are) and modes. Everything
// else is fixed by the options, so the same content gives the same digest on
// every machine and day. Owners, times, extended attributes and hard links of the
// file system are not carried over. The root directory itself is no entry.
//
// FromFS reads fsys to learn the digest, and each [Layer.Open] reads it again; no
// file is held in memory. It returns no error, so that it can stand in an argument
// list: what went wrong is told by [Layer.Err] and Open. The class is
// ErrInvalidArgument for a device, pipe or socket, a link in a file system without
// ReadLink, a name that starts with ".wh." or isn't UTF-8, and for bad options;
// ErrDataLoss for a file whose size changed while it was read, and, from Open's
// reader, for an fsys that isn't what it was. Errors of fsys are passed on.
func FromFS(fsys fs.FS, o *Options) Layer {
	l, err := fromFS(fsys, o)
	if err != nil {
		return failed(fmt.Errorf("layer: from fs: %w", err))
	}
	return l
}

func fromFS(fsys fs.FS, o *Options) (Layer, error) {
	var opts Options // a copy: the caller may change theirs tomorrow
	if o != nil {
		opts = *o
	}
	if fsys == nil {
		return Layer{}, fmt.Errorf("the file system is nil: %w", errdefs.ErrInvalidArgument)
	}
	if err := opts.normalize(); err != nil {
		return Layer{}, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	p := newPacker(fsys, opts)
	defer p.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, p)
	if err != nil {
		return Layer{}, err
	}
	l := made(digest.NewDigest(digest.SHA256, hash), size, func(context.Context) (io.ReadCloser, error) {
		return newPacker(fsys, opts), nil
	})
	l.CreatedBy, l.Compression = opts.CreatedBy, opts.Compression
	return l, nil
}

// normalize replaces zero values by what they mean, and checks the rest.
func (o *Options) normalize() error {
	prefix := strings.TrimSuffix(strings.TrimPrefix(o.Prefix, "/"), "/")
	if prefix == "" {
		prefix = "."
	}
	if !fs.ValidPath(prefix) || strings.ContainsRune(prefix, 0) {
		return fmt.Errorf("prefix %q: not a path inside the image", o.Prefix)
	}
	if isWhiteout(prefix) {
		return fmt.Errorf("prefix %q: %s", o.Prefix, whiteoutRule)
	}
	o.Prefix = prefix

	if o.ModTime.IsZero() {
		o.ModTime = time.Unix(0, 0)
	}
	o.ModTime = o.ModTime.Truncate(time.Second)

	// The kernel's ids have 32 bits, and the highest stands for "none".
	if id := int64(o.UID); id < 0 || id >= math.MaxUint32 {
		return fmt.Errorf("uid %d: out of range", id)
	}
	if id := int64(o.GID); id < 0 || id >= math.MaxUint32 {
		return fmt.Errorf("gid %d: out of range", id)
	}
	return nil
}

const whiteoutRule = `a name that starts with ".wh." would delete a file of the layers below (OCI image-spec, layer.md, "Whiteouts")`

// isWhiteout reports whether an element of the path is a whiteout's name.
func isWhiteout(name string) bool {
	return strings.Contains("/"+name, "/.wh.")
}
