// What a container has in /dev, and the streams of its processes.
#include "forker.h"
#include <asm/ioctls.h>
#include <asm/termios.h>
#include <linux/magic.h>

// device is makedev(3) for the kernel.
static u64 device(u32 major, u32 minor) { return (major & 0xfff) << 8 | (minor & 0xff) | (u64)(minor & ~0xffu) << 12; }

void op_node(struct args *a)
{
	u32 mode = number(a), major = number(a), minor = number(a), uid = number(a), gid = number(a);
	const char *path = string(a), *name;
	u64 found;
	long dir = must(make_parent(path, &name), "find directory of", path);
	long error = call(mknodat, dir, name, mode, device(major, minor));
	if (error == -EEXIST) { // the image's, or a mount: as it is
		call(close, dir);
		return;
	}
	must(error, "make device", path);
	long fd = must(lookup((int)dir, name, O_PATH | O_NOFOLLOW, RESOLVE_BENEATH), "open device", path);
	if (kind(fd, &found) != (mode & S_IFMT) || ((mode & S_IFMT) != S_IFIFO && found != ((u64)major << 32 | minor)))
		fail("make device: it is another one", path, -EPERM);
	if (uid || gid)
		must(call(fchownat, fd, "", uid, gid, AT_EMPTY_PATH), "give device to its owner", path);
	call(close, fd);
	call(close, dir);
}

static void make_link(struct args *a, int replace)
{
	const char *what = string(a), *path = string(a), *name;
	long dir = must(make_parent(path, &name), "find directory of", path);
	if (replace)
		call(unlinkat, dir, name, 0);
	long error = call(symlinkat, what, dir, name);
	if (error != -EEXIST || replace)
		must(error, "link", path);
	call(close, dir);
}

void op_link(struct args *a) { make_link(a, 1); }
void op_link_new(struct args *a) { make_link(a, 0); }

static int is_null(long fd)
{
	u64 found;
	return kind(fd, &found) == S_IFCHR && found == (1ull << 32 | 3);
}

// open_null opens /dev/null: the container's own, unless it has made another thing
// of it, so that no process of it has a file of the host's. It is looked at before,
// since to open a device may do something, and after, since it may be another by then.
static long open_null(void)
{
	long fd = lookup(AT_FDCWD, "/dev/null", O_PATH | O_NOFOLLOW, INSIDE);
	int real = fd >= 0 && is_null(fd);
	if (fd >= 0)
		call(close, fd);
	if (!real)
		return self.null;
	fd = lookup(AT_FDCWD, "/dev/null", O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, INSIDE);
	if (fd >= 0 && is_null(fd))
		return fd;
	if (fd >= 0)
		call(close, fd);
	return self.null;
}

void op_streams(struct args *a)
{
	long null = -1;
	for (int stream = 0; stream < 3; stream++) {
		long from = file(a);
		if (from < 0)
			from = null = null < 0 ? open_null() : null;
		must(call(dup3, from, stream, 0), "give stream", 0);
	}
	if (null >= 0 && null != self.null)
		call(close, null);
}

// open_terminal makes a terminal of the container's own devpts. The container may
// have put anything in its place: it is what it is, not what it is called.
static long open_terminal(void)
{
	u64 found;
	long root = must(call(openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0), "open", "/");
	long fd = must(lookup((int)root, "dev/pts/ptmx", O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS), "open", "/dev/pts/ptmx");
	if (kind(fd, &found) != S_IFCHR || found != (5ull << 32 | 2) || file_system(fd) != DEVPTS_SUPER_MAGIC)
		fail("make terminal: /dev/pts/ptmx is another thing", 0, -EPERM);
	call(close, fd);
	long master = must(lookup((int)root, "dev/pts/ptmx", O_RDWR | O_NOCTTY, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS), "open", "/dev/pts/ptmx");
	if (kind(master, &found) != S_IFCHR || found != (5ull << 32 | 2) || file_system(master) != DEVPTS_SUPER_MAGIC)
		fail("make terminal: /dev/pts/ptmx is another thing", 0, -EPERM);
	call(close, root);
	return master;
}

// show_console has the terminal at /dev/console.
static void show_console(long terminal)
{
	int made;
	set_root(must(call(openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0), "open", "/"));
	long at = must(target("dev/console", TARGET_FILE | TARGET_NO_LINKS, &made), "find", "/dev/console");
	long mount = must(copy(terminal, 0), "copy", "/dev/console");
	must(attach(mount, at), "mount", "/dev/console");
	call(close, mount);
	call(close, at);
}

void op_terminal(struct args *a)
{
	u32 rows = number(a), columns = number(a), console = number(a);
	struct winsize size = {.ws_row = (u16)rows, .ws_col = (u16)columns};
	int unlocked = 0;
	long master = open_terminal();
	must(call(ioctl, master, TIOCSPTLCK, &unlocked), "unlock terminal", 0);
	long terminal = must(call(ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC), "open terminal", 0);
	if (rows && columns)
		must(call(ioctl, master, TIOCSWINSZ, &size), "set size of terminal", 0);
	if (console)
		show_console(terminal);
	say(WORD_TERMINAL, (int)master);
	for (int stream = 0; stream < 3; stream++)
		must(call(dup3, terminal, stream, 0), "give stream", 0);
	must(call(ioctl, 0, TIOCSCTTY, 0), "control terminal", 0);
	call(close, terminal);
	call(close, master);
}

// op_own_streams gives the streams to the process's user, who may open them again
// then. /dev/null is everybody's, and a file on a read-only mount stays as it is.
void op_own_streams(struct args *a)
{
	u32 uid = number(a);
	for (int stream = 0; stream < 3; stream++) {
		struct statx st;
		must(call(statx, stream, "", AT_EMPTY_PATH, STATX_TYPE | STATX_UID, &st), "look at stream", 0);
		int null = (st.stx_mode & S_IFMT) == S_IFCHR && st.stx_rdev_major == 1 && st.stx_rdev_minor == 3;
		if (null || st.stx_uid == uid)
			continue;
		long error = call(fchown, stream, uid, -1);
		if (error != -EPERM && error != -EROFS)
			must(error, "give stream to its user", 0);
	}
}
