package rootfs

import (
	"context"

	"golang.org/x/sys/unix"
)

// Usage tells how many bytes of the disk the root and what is below it take up: a
// file of several names once, and of a sparse one what is there of it. What is
// mounted below does not count. What is removed meanwhile may count or not.
func (r *Root) Usage(ctx context.Context) (bytes int64, err error) {
	bytes, _, err = r.Count(ctx)
	return bytes, err
}

// Count is Usage, and tells as well of how many files, directories and links that is.
func (r *Root) Count(ctx context.Context) (bytes, files int64, err error) {
	u := usage{walker: walker{ctx: ctx, limit: maxDepth}, counted: map[fileID]struct{}{}}
	defer u.close()
	err = r.with(func(dir int) error { return u.enter(dir, ".", 0) })
	if err == nil {
		err = u.walk()
	}
	return u.bytes, u.files, Failure("usage", "/", err)
}

// usage adds up what files use on its way through a tree.
type usage struct {
	walker
	bytes   int64
	files   int64
	counted map[fileID]struct{} // files of several names
}

func (u *usage) walk() error {
	for {
		if err := u.ctx.Err(); err != nil {
			return err
		}
		if next, ok := u.next(); ok {
			if err := u.enter(int(u.at.Fd()), next, unix.RESOLVE_NO_XDEV); err != nil && !gone(err) && err != unix.EXDEV {
				return err
			}
			continue
		}
		if len(u.above) == 1 {
			return nil
		}
		up, err := u.parent()
		if err != nil {
			return err
		}
		u.leave(up)
	}
}

// enter goes into a directory and counts what is in it.
func (u *usage) enter(dir int, base string, resolve uint64) error {
	st, err := u.walker.enter(dir, base, resolve)
	if err != nil {
		return err
	}
	u.bytes += st.Blocks * 512
	u.files++
	return u.names(func(names []string) error {
		for _, name := range names {
			var st unix.Stat_t
			err := unix.Fstatat(int(u.at.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
			if gone(err) {
				continue
			}
			if err != nil {
				return err
			}
			u.add(name, &st)
		}
		return nil
	})
}

func (u *usage) add(name string, st *unix.Stat_t) {
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		l := u.here()
		l.dirs = append(l.dirs, name)
		return
	}
	if st.Nlink > 1 {
		if _, ok := u.counted[idOf(st)]; ok {
			return
		}
		u.counted[idOf(st)] = struct{}{}
	}
	u.bytes += st.Blocks * 512
	u.files++
}
