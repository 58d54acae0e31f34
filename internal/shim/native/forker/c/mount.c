// Mounts, from descriptor to descriptor: no path of the host's is ever named, and
// none of the container's is looked up twice.
#include "forker.h"

#define MODE_BITS 07777

// attach attaches a mount. What the kernel calls invalid is, where one of the two is
// a directory and the other not, given its name.
long attach(long mount, long at)
{
	long error = call(move_mount, mount, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
	if (error == -EINVAL && (kind(mount, 0) == S_IFDIR) != (kind(at, 0) == S_IFDIR))
		return -ENOTDIR;
	return error;
}

// copy makes a mount of what a descriptor shows, attached nowhere.
long copy(long fd, int recursive)
{
	u32 flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
	return call(open_tree, fd, "", flags);
}

static long configure(long fs, const char *name, const char *value)
{
	return *value ? call(fsconfig, fs, FSCONFIG_SET_STRING, name, value, 0)
		      : call(fsconfig, fs, FSCONFIG_SET_FLAG, name, 0, 0);
}

static long configure_mode(long fs, u32 mode)
{
	char octal[5];
	for (int i = 0; i < 4; i++)
		octal[i] = (char)('0' + (mode >> (9 - 3 * i) & 7));
	octal[4] = 0;
	return configure(fs, "mode", octal);
}

// new_mount makes a file system. mode is that of its root; 0 is its own default.
long new_mount(const char *type, struct args *options, u32 mode, u32 attributes)
{
	long fs = call(fsopen, type, FSOPEN_CLOEXEC);
	if (fs < 0)
		return fs;
	long answer = mode ? configure_mode(fs, mode) : 0;
	while (answer >= 0 && options && options->at < options->end) {
		const char *name = string(options);
		answer = configure(fs, name, string(options));
	}
	if (answer >= 0)
		answer = call(fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0);
	if (answer >= 0)
		answer = call(fsmount, fs, FSMOUNT_CLOEXEC, attributes);
	call(close, fs);
	return answer;
}

void op_root(struct args *a)
{
	int root = file(a);
	must(call(move_mount, root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH), "mount", "root file system");
	set_root(root);
}

void op_attach(struct args *a)
{
	int mount = file(a), made;
	u32 flags = number(a);
	const char *path = string(a);
	long at = must(target(path, flags, &made), "find mount point", path);
	must(attach(mount, at), "mount", path);
	call(close, at);
}

static u32 mode_of(long fd)
{
	struct statx st;
	must(call(statx, fd, "", AT_EMPTY_PATH, STATX_MODE, &st), "look at mount point", 0);
	return st.stx_mode & MODE_BITS;
}

void op_mount(struct args *a)
{
	u32 attributes = number(a), flags = number(a);
	const char *path = string(a), *type = string(a);
	int made;
	long at = must(target(path, flags, &made), "find mount point", path);
	u32 mode = flags & TARGET_MODE && !made ? mode_of(at) : 0;
	long mount = must(new_mount(type, a, mode, attributes), type, path);
	must(attach(mount, at), "mount", path);
	call(close, at);
	if (flags & TARGET_KEEP)
		self.proc = (int)mount;
	else if (self.blank < 0 && same(type, "tmpfs") && length(path) < PATH_SIZE) {
		self.blank = (int)mount;
		append(self.blank_path, self.blank_path + PATH_SIZE, path);
	} else
		call(close, mount);
}

void op_change(struct args *a)
{
	struct mount_attr change = {.attr_set = number(a)};
	u32 flags = number(a);
	const char *path = string(a);
	int made;
	long at = must(target(path, flags, &made), "find mount", path);
	must(call(mount_setattr, at, "", AT_EMPTY_PATH, &change, sizeof change), "change mount", path);
	call(close, at);
}

// existing opens a path that need not be there: -1 is that it is not.
static long existing(const char *path)
{
	long fd = lookup(self.root, path, O_PATH, INSIDE);
	if (fd == -ENOENT || fd == -ENOTDIR)
		return -1;
	return must(fd, "find", path);
}

void op_read_only(struct args *a)
{
	const char *path = string(a);
	struct mount_attr change = {.attr_set = MOUNT_ATTR_RDONLY};
	long at = existing(path);
	if (at < 0)
		return;
	long mount = must(copy(at, 1), "copy mount", path);
	must(call(mount_setattr, mount, "", AT_EMPTY_PATH, &change, sizeof change), "make read-only", path);
	must(attach(mount, at), "make read-only", path);
	call(close, mount);
	call(close, at);
}

// real_null opens the container's /dev/null. The node of an image that has made
// something else of it would show that in place of what is to be masked.
static long real_null(void)
{
	u64 device;
	long fd = must(lookup(self.root, "dev/null", O_PATH, INSIDE | RESOLVE_NO_SYMLINKS), "open", "/dev/null");
	if (kind(fd, &device) != S_IFCHR || device != (1ull << 32 | 3))
		fail("use /dev/null: it is another thing", 0, -EPERM);
	return fd;
}

// empty_directory makes one that can't be written to. Kernels that take no single
// inode take two.
static long empty_directory(void)
{
#define EMPTY(inodes) "source\0tmpfs\0nr_blocks\0" "1\0nr_inodes\0" inodes "\0ro\0"
	static const u8 one[] = EMPTY("1"), two[] = EMPTY("2");
	struct args a = {one, one + sizeof one}, b = {two, two + sizeof two};
	long mount = new_mount("tmpfs", &a, 0, MOUNT_ATTR_RDONLY);
	return mount < 0 ? new_mount("tmpfs", &b, 0, MOUNT_ATTR_RDONLY) : mount;
}

void op_mask(struct args *a)
{
	static int null = -1, empty = -1;
	const char *path = string(a);
	long at = existing(path);
	if (at < 0)
		return;
	int directory = kind(at, 0) == S_IFDIR, first = directory && empty < 0;
	if (!directory && null < 0)
		null = (int)must(real_null(), "make mask", 0);
	long mount = must(first ? empty_directory() : copy(directory ? empty : null, 0), "make mask for", path);
	must(attach(mount, at), "mask", path);
	// Kernels before 6.15 copy no mount that is attached nowhere: so the first one
	// is used, and the others are its copies.
	if (first)
		empty = (int)mount;
	else
		call(close, mount);
	call(close, at);
}

void op_read_only_root(struct args *a)
{
	struct mount_attr change = {.attr_set = MOUNT_ATTR_RDONLY};
	(void)a;
	must(call(mount_setattr, self.root, "", AT_EMPTY_PATH, &change, sizeof change), "make read-only", "/");
}

// op_pivot makes the container's root the process's, and takes the other away.
void op_pivot(struct args *a)
{
	(void)a;
	forget_blank();
	must(call(fchdir, self.root), "enter", "root file system");
	must(call(pivot_root, ".", "."), "pivot_root", 0);
	must(call(umount2, ".", MNT_DETACH), "unmount", "the forker's root");
	must(call(chdir, "/"), "enter", "/");
}
