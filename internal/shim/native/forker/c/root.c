// Paths in a container. Whatever an image has put into its root file system is
// hostile: its links may lead anywhere. So the kernel looks a path up below a
// descriptor of the root, out of which neither a link nor ".." leads, and the
// links of procfs that stand for descriptors are never followed. What is found is
// a descriptor, and no process can put another thing in its place.
#include "forker.h"
#include <asm/statfs.h>
#include <linux/magic.h>

#define LINKS 40 // that one path may lead through, as the kernel has it
#define NAME_SIZE 256
#define TRIES 1000 // of a look-up: another process may interfere without end

long lookup(int dir, const char *path, u64 flags, u64 resolve)
{
	struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = resolve};
	long fd = -EAGAIN;
	while (*path == '/')
		path++;
	// Where ".." is on the way the kernel gives up if anything on the host was
	// renamed or mounted meanwhile.
	for (int i = 0; i < TRIES && fd == -EAGAIN; i++)
		fd = call(openat2, dir, *path ? path : ".", &how, sizeof how);
	return fd;
}

// kind tells what a descriptor is (S_IFMT), and of a device which one.
u64 kind(long fd, u64 *device)
{
	struct statx st;
	if (call(statx, fd, "", AT_EMPTY_PATH, STATX_TYPE, &st) < 0)
		return 0;
	if (device)
		*device = (u64)st.stx_rdev_major << 32 | st.stx_rdev_minor;
	return st.stx_mode & S_IFMT;
}

// file_system tells which type of one a file is in; 0 is that it is not known.
u64 file_system(long fd)
{
	struct statfs st;
	return call(fstatfs, fd, &st) < 0 ? 0 : (u64)st.f_type;
}

static int identify(long fd, struct identity *is)
{
	struct statx st;
	if (call(statx, fd, "", AT_EMPTY_PATH, STATX_INO, &st) < 0)
		return 0;
	is->inode = st.stx_ino;
	is->device = (u64)st.stx_dev_major << 32 | st.stx_dev_minor;
	return 1;
}

// in_proc tells whether a file is a procfs's, or nothing is known of it.
static int in_proc(long fd)
{
	u64 type = file_system(fd);
	return !type || type == PROC_SUPER_MAGIC;
}

void set_root(long fd)
{
	u64 type = file_system(fd);
	self.root = (int)fd;
	if (!type || !identify(fd, &self.root_is))
		fail("look at", "root file system", -EBADF);
	self.root_is_proc = type == PROC_SUPER_MAGIC;
}

// A way is a path that is being resolved where a part of it is missing. The kernel
// gives up there. Runtimes go on by names alone, also behind a link that dangles:
// images have an /etc/resolv.conf that leads into /run, where nothing is yet.
static struct way {
	char done[PATH_SIZE];    // holds no link
	char rests[2][PATH_SIZE];
	int turn;                // which of them is in use
	const char *rest;        // in it
	int links;
} way;

// next takes the first name off the rest. 0 is that there is none.
static long next(char *name)
{
	u32 n = 0;
	while (*way.rest == '/')
		way.rest++;
	while (*way.rest && *way.rest != '/') {
		if (n + 1 >= NAME_SIZE)
			return -ENAMETOOLONG;
		name[n++] = *way.rest++;
	}
	name[n] = 0;
	return n;
}

static void up(void)
{
	u32 n = length(way.done);
	while (n && way.done[n - 1] != '/')
		n--;
	way.done[n ? n - 1 : 0] = 0;
}

static long down(const char *name)
{
	u32 n = length(way.done);
	if (n + 1 + length(name) >= PATH_SIZE)
		return -ENAMETOOLONG;
	char *at = append(way.done + n, way.done + PATH_SIZE, "/");
	append(at, way.done + PATH_SIZE, name);
	return 0;
}

// follow goes on with what a link says, and after that with the rest.
static long follow(long link)
{
	char *to = way.rests[!way.turn];
	long n = call(readlinkat, link, "", to, PATH_SIZE - 1);
	if (n < 0)
		return n;
	if (++way.links > LINKS)
		return -ELOOP;
	if ((u64)n + 1 + length(way.rest) >= PATH_SIZE)
		return -ENAMETOOLONG;
	to[n] = '/';
	append(to + n + 1, to + PATH_SIZE, way.rest);
	way.turn = !way.turn;
	way.rest = to;
	if (*to == '/')
		way.done[0] = 0;
	else
		up(); // the link's own name
	return 0;
}

static long step(const char *name)
{
	if (same(name, "."))
		return 0;
	if (same(name, "..")) {
		up();
		return 0;
	}
	long error = down(name);
	if (error < 0)
		return error;
	long fd = lookup(self.root, way.done, O_PATH | O_NOFOLLOW, INSIDE);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (kind(fd, 0) == S_IFLNK)
		error = follow(fd);
	call(close, fd);
	return error;
}

// resolve leaves in way.done where a path leads, without links.
static long resolve(const char *path)
{
	char name[NAME_SIZE];
	if (length(path) >= PATH_SIZE)
		return -ENAMETOOLONG;
	append(way.rests[0], way.rests[0] + PATH_SIZE, path);
	way.done[0] = 0;
	way.turn = way.links = 0;
	way.rest = way.rests[0];
	for (;;) {
		long n = next(name);
		if (n <= 0)
			return n;
		long error = step(name);
		if (error < 0)
			return error;
	}
}

// make makes a directory or an empty file in dir, unless it is there, and opens it.
static long make(int dir, const char *name, int directory, int *made)
{
	const u64 no_links = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
	long fd = lookup(dir, name, O_PATH, no_links);
	if (fd != -ENOENT)
		return fd;
	if (directory)
		fd = call(mkdirat, dir, name, 0755);
	else
		fd = call(openat, dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0 && fd != -EEXIST)
		return fd;
	*made = fd >= 0;
	if (!directory && fd >= 0)
		call(close, fd);
	return lookup(dir, name, O_PATH, no_links);
}

// make_all makes what is missing of way.done, whose last name may be a file's.
static long make_all(int directory)
{
	char name[NAME_SIZE];
	int made;
	long dir = lookup(self.root, "", O_PATH | O_DIRECTORY, RESOLVE_IN_ROOT);
	way.rest = way.done;
	while (dir >= 0) {
		long n = next(name);
		if (n <= 0)
			return n < 0 ? n : dir;
		long below = make((int)dir, name, directory || *way.rest, &made);
		call(close, dir);
		dir = below;
	}
	return dir;
}

// may_be_in_proc is in_proc, without a question of a file that is on the device of a
// root that is no procfs, as most are.
static int may_be_in_proc(long fd, u64 device)
{
	return device == self.root_is.device ? self.root_is_proc : in_proc(fd);
}

// admit refuses what nothing may be mounted on: the root itself, and the inside of
// a procfs, where programs that ask the kernel would believe the image instead.
static long admit(long fd, u32 flags)
{
	struct identity is;
	if (fd < 0)
		return fd;
	if (identify(fd, &is) && (is.inode != self.root_is.inode || is.device != self.root_is.device)
	    && (flags & TARGET_IN_PROC || !may_be_in_proc(fd, is.device)))
		return fd;
	call(close, fd);
	return -EPERM;
}

void forget_blank(void)
{
	if (self.blank >= 0)
		call(close, self.blank);
	self.blank = -1;
}

// in_blank gives the name that a path has in the blank tmpfs; 0 is that it is not
// there, or deeper.
static const char *in_blank(const char *path)
{
	const char *at = self.blank_path;
	if (self.blank < 0)
		return 0;
	while (*at && *at == *path)
		at++, path++;
	if (*at || *path++ != '/' || !*path || same(path, ".") || same(path, ".."))
		return 0;
	for (const char *s = path; *s; s++)
		if (*s == '/')
			return 0;
	return path;
}

// target opens what a mount goes on, and makes it if it is to. What was made in a blank
// tmpfs is neither the root nor in a procfs.
long target(const char *path, u32 flags, int *made)
{
	u64 how = flags & TARGET_NO_LINKS ? INSIDE | RESOLVE_NO_SYMLINKS : INSIDE;
	const char *name = in_blank(path);
	long fd;
	*made = 0;
	if (name) {
		if (flags & (TARGET_DIRECTORY | TARGET_FILE)) {
			fd = make(self.blank, name, !(flags & TARGET_FILE), made);
			if (*made)
				return fd;
		} else {
			fd = lookup(self.blank, name, O_PATH, INSIDE | RESOLVE_NO_SYMLINKS);
		}
		if (fd != -ELOOP)
			return admit(fd, flags);
	}
	forget_blank();
	fd = lookup(self.root, path, O_PATH, how);
	if (fd == -ENOENT && flags & (TARGET_DIRECTORY | TARGET_FILE)) {
		long error = resolve(path);
		*made = 1;
		fd = error < 0 ? error : make_all(!(flags & TARGET_FILE));
	}
	return admit(fd, flags);
}

// make_parent opens the directory that a path is in, and gives the last name.
long make_parent(const char *path, const char **name)
{
	static char above[PATH_SIZE];
	u32 n = length(path);
	while (n && path[n - 1] != '/')
		n--;
	*name = path + n;
	if (n >= PATH_SIZE)
		return -ENAMETOOLONG;
	memcpy(above, path, n);
	above[n] = 0;
	if (!**name || same(*name, ".") || same(*name, ".."))
		return -EINVAL;
	long fd = lookup(self.root, above, O_PATH | O_DIRECTORY, INSIDE);
	if (fd != -ENOENT)
		return fd;
	long error = resolve(above);
	return error < 0 ? error : make_all(1);
}
