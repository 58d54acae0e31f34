package rootfs

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Usage tells how many bytes of the disk the root and what is below it take up: a
// file of several names once, and of a sparse one what is there of it. What is
// mounted below does not count. What is removed meanwhile may count or not.
func (r *Root) Usage(ctx context.Context) (int64, error) {
	u := user{ctx: ctx, counted: map[fileID]struct{}{}}
	err := r.with(func(dir int) error { return u.enter(dir, ".", 0) })
	if err == nil {
		err = u.walk()
	}
	if u.at != nil {
		u.at.Close()
	}
	return u.bytes, Failure("usage", "/", err)
}

// user adds up what files use. As a remover it has one directory open, since a
// container may make a tree as deep as it likes.
type user struct {
	ctx     context.Context
	bytes   int64
	counted map[fileID]struct{} // files of several names
	at      *os.File            // the directory it is in
	above   []level             // names is not used
}

func (u *user) walk() error {
	for {
		if err := u.ctx.Err(); err != nil {
			return err
		}
		l := &u.above[len(u.above)-1]
		if n := len(l.dirs); n > 0 {
			next := l.dirs[n-1]
			l.dirs = l.dirs[:n-1]
			if err := u.enter(int(u.at.Fd()), next, unix.RESOLVE_NO_XDEV); err != nil && !gone(err) && err != unix.EXDEV {
				return err
			}
			continue
		}
		if len(u.above) == 1 {
			return nil
		}
		if err := u.leave(); err != nil {
			return err
		}
	}
}

// enter goes into a directory and counts what is in it.
func (u *user) enter(dir int, base string, resolve uint64) error {
	if len(u.above) > maxDepth {
		return errDeep
	}
	fd, err := unix.Openat2(dir, base, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | resolve,
	})
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	u.move(fd)
	u.bytes += st.Blocks * 512
	u.above = append(u.above, level{id: idOf(&st), base: base})
	return u.count(&u.above[len(u.above)-1])
}

func (u *user) move(fd int) {
	if u.at != nil {
		u.at.Close()
	}
	u.at = os.NewFile(uintptr(fd), "counted")
}

func (u *user) count(l *level) error {
	for {
		names, err := u.at.Readdirnames(1024)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = u.ctx.Err()
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			var st unix.Stat_t
			err := unix.Fstatat(int(u.at.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
			if gone(err) {
				continue
			}
			if err != nil {
				return err
			}
			u.add(l, name, &st)
		}
	}
}

func (u *user) add(l *level, name string, st *unix.Stat_t) {
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
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
}

// leave goes up, and makes sure that this is where it came from.
func (u *user) leave() error {
	up, err := unix.Openat(int(u.at.Fd()), "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	u.above = u.above[:len(u.above)-1]
	var st unix.Stat_t
	if err := unix.Fstat(up, &st); err != nil || idOf(&st) != u.above[len(u.above)-1].id {
		unix.Close(up)
		return errors.Join(errMoved, err)
	}
	u.move(up)
	return nil
}
