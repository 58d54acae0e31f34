package rootfs

import (
	"context"
	"errors"
	"hash/maphash"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// tree is a directory that a layer is written to, and what shines through it: the
// layers below, as an overlay shows them. In a plain directory nothing does.
//
// A name means what it does in both together, so no single call of the kernel can
// resolve it. It is walked one element at a time; each is held as a path, and links
// are followed here, with the tree's root as the root. Nothing else changes the tree
// meanwhile.
type tree struct {
	ctx   context.Context
	up    handle // the root of what is written
	low   handle // and of what is below; none: nothing is
	marks string // what the names of overlay's attributes begin with; "": no overlay

	own  map[uint64]struct{} // the names that the layer itself has: what it hides is below it
	seed maphash.Seed
	at   *place // where the last entry was; nil: nowhere

	draft *Draft // to be joined with what is below; nil: it is there
}

// A directory has nothing below it, or, in a draft, something that is not there
// yet.
const (
	none   handle = -1
	unseen handle = -2
)

// release closes a handle that may hold nothing.
func (h handle) release() {
	if h >= 0 {
		h.close()
	}
}

// place is a directory that is held. It keeps its time, whatever is made in it:
// only a layer's entry for it changes that.
type place struct {
	dir     string   // as the entries' names have it
	names   []string // the way to it, without links
	keys    []uint64 // of those names
	up, low handle   // low is none where nothing shines through
	st      unix.Stat_t
	owned   bool // by the layer, as all above it
	acl     bool // what is made in it gets access lists of its own
}

func (p *place) close() {
	p.up.release()
	p.low.release()
}

// key stands for a name in a directory.
func (t *tree) key(dir *unix.Stat_t, base string) uint64 {
	return maphash.Comparable(t.seed, struct {
		ino  uint64
		base string
	}{dir.Ino, base})
}

func (t *tree) owns(key uint64) bool {
	_, ok := t.own[key]
	return ok
}

// errLost is of a directory that is not there.
var errLost error = &classed{errors.New("it is not there"), []error{errdefs.ErrInvalidArgument}}

// enter goes to a directory, dir, whose name has been cleaned. What is missing on
// the way is made, if the layer has something to put there; else the error is
// errLost. A directory that only shines through is copied up.
func (t *tree) enter(dir string, create bool) (p *place, err error) {
	if p = t.at; p == nil || p.dir != dir {
		if p, err = t.walk(dir, create); err != nil {
			return nil, err
		}
		t.at = p
	}
	if create && !p.owned {
		for _, k := range p.keys {
			t.own[k] = struct{}{}
		}
		p.owned = true
	}
	return p, nil
}

// leave gives the directory of the last entry the time that it had.
func (t *tree) leave() error {
	p := t.at
	if p == nil {
		return nil
	}
	t.at = nil
	defer p.close()
	return p.rest()
}

func (p *place) rest() error {
	return unix.UtimesNanoAt(unix.AT_FDCWD, p.up.path(), []unix.Timespec{p.st.Atim, p.st.Mtim}, 0)
}

// root is the tree's root.
func (t *tree) root() (*place, error) {
	p := &place{up: none, low: none}
	var err error
	if p.up, err = t.up.dup(); err != nil {
		return nil, err
	}
	if p.low, err = t.low.dup(); err != nil {
		p.low = none
		p.close()
		return nil, err
	}
	return p, p.look()
}

// dup holds the same once more.
func (h handle) dup() (handle, error) {
	if h < 0 {
		return h, nil
	}
	fd, err := unix.FcntlInt(uintptr(h), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return none, err
	}
	return handle(fd), nil
}

// look notes what its directory is like; it closes the place on an error.
func (p *place) look() (err error) {
	if p.st, err = p.up.stat(); err == nil {
		_, aerr := unix.Getxattr(p.up.path(), "system.posix_acl_default", nil)
		p.acl = aerr == nil
		return nil
	}
	p.close()
	return err
}

// A name with more elements than this, with those of its links, leads in circles.
const maxSteps = 10_000

// walk finds a directory from the root, or from where the last entry was, if the
// way leads through there.
func (t *tree) walk(dir string, create bool) (p *place, err error) {
	from, way := t.at, dir
	if err := t.rest(from); err != nil {
		return nil, err
	}
	t.at = nil
	if from != nil && from.dir != "" && strings.HasPrefix(dir, from.dir+"/") {
		p, way = from, dir[len(from.dir)+1:]
	} else {
		if from != nil {
			from.close()
		}
		if p, err = t.root(); err != nil {
			return nil, err
		}
	}
	ahead := strings.Split(way, "/")
	links := 0
	for steps := 0; len(ahead) > 0; steps++ {
		name := ahead[0]
		ahead = ahead[1:]
		if err := t.ctx.Err(); err != nil || steps > maxSteps || links > maxLinks {
			p.close()
			return nil, errors.Join(err, unix.ELOOP)
		}
		if name == "" || name == "." {
			continue
		}
		if name == ".." {
			if len(p.names) > 0 {
				ahead = append(p.names[:len(p.names)-1:len(p.names)-1], ahead...)
			}
			p.close()
			if p, err = t.root(); err != nil {
				return nil, err
			}
			continue
		}
		next, target, err := t.step(p, name, create)
		if err != nil {
			p.close()
			return nil, wrap(name, err)
		}
		if next == nil {
			links++
			ahead = append(strings.Split(target, "/"), ahead...)
			if !strings.HasPrefix(target, "/") {
				continue
			}
			if next, err = t.root(); err != nil {
				p.close()
				return nil, err
			}
		}
		p.close()
		p = next
	}
	p.dir = dir
	return p, nil
}

func (t *tree) rest(p *place) error {
	if p == nil {
		return nil
	}
	if err := p.rest(); err != nil {
		t.at = nil
		p.close()
		return err
	}
	return nil
}

// step goes to a directory in another, or gives where the link leads that is in
// its place.
func (t *tree) step(p *place, name string, create bool) (next *place, target string, err error) {
	up, low, err := t.both(p, name)
	if err != nil {
		return nil, "", err
	}
	defer func() {
		up.close()
		low.close()
	}()
	is := up
	if up == nil {
		is = low
	}
	switch {
	case is.is(unix.S_IFLNK):
		target, err = is.readLink()
		return nil, target, err
	case up.is(unix.S_IFDIR):
	case low.is(unix.S_IFDIR) && up == nil:
		err = errors.Join(t.copyDir(p, name, low), p.rest())
	case !create && up == nil && low.isUnseen():
		return nil, "", ErrBelow
	case !create:
		return nil, "", errLost
	default:
		err = errors.Join(t.mkdir(p, name, node{mode: unix.S_IFDIR | 0o755}), p.rest())
	}
	if err == nil && !up.is(unix.S_IFDIR) {
		err = t.draft.passed(p, name, up == nil && low.isUnseen())
	}
	if err != nil {
		return nil, "", err
	}
	next = &place{up: none, low: none}
	if up.is(unix.S_IFDIR) {
		next.up, up = up.handle, nil
	} else if next.up, err = hold(p.up, name); err != nil {
		return nil, "", err
	}
	next.names = append(p.names[:len(p.names):len(p.names)], name)
	next.keys = append(p.keys[:len(p.keys):len(p.keys)], t.key(&p.st, name))
	if low.mayShow() && !t.opaque(next.up) {
		next.low, low = low.handle, nil
	}
	return next, "", next.look()
}

// both holds what has a name in a directory: in what is written, and in what
// shines through if that were not there. nil: nothing has.
func (t *tree) both(p *place, name string) (up, low *file, err error) {
	if up, err = holdFile(p.up, name); err != nil {
		return nil, nil, err
	}
	if p.low == none || t.whiteout(up) {
		if t.whiteout(up) {
			up.close()
			up = nil
		}
		return up, nil, nil
	}
	if p.low == unseen {
		return up, &file{handle: unseen}, nil
	}
	if low, err = holdFile(p.low, name); err != nil || t.whiteout(low) {
		low.close()
		low = nil
	}
	if err != nil {
		up.close()
		return nil, nil, err
	}
	return up, low, nil
}

// is tells of a file, if there is one, whether it is of a kind.
func (f *file) is(kind uint32) bool { return f != nil && f.kind() == kind }

// isUnseen tells of a file whether it is only known that there may be one.
func (f *file) isUnseen() bool { return f != nil && f.handle == unseen }

// mayShow tells of a file whether it may be a directory, which shines through
// another one.
func (f *file) mayShow() bool { return f.is(unix.S_IFDIR) || f.isUnseen() }

// hold holds what has a name in a directory, and follows no link.
func hold(dir handle, name string) (handle, error) {
	fd, err := unix.Openat(int(dir), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return none, err
	}
	return handle(fd), nil
}

// holdFile is hold with what is known of it, or nil if there is nothing.
func holdFile(dir handle, name string) (*file, error) {
	h, err := hold(dir, name)
	if err != nil {
		if err == unix.ENOENT {
			err = nil
		}
		return nil, err
	}
	st, err := h.stat()
	if err != nil {
		h.close()
		return nil, err
	}
	return &file{h, st}, nil
}
