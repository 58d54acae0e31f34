// The forker: a small process with nothing of the host's, of which a shim has
// containers' processes forked. A shim is a Go program: it has many threads, and a
// fork of it would cost milliseconds. This has 30 KB, one thread and no mounts.
//
// A new process is a copy of it that carries out a list of operations, one after
// the other, and then executes the container's command. Nothing is parsed here, and
// no path of the host's is known: the shim has made ready operations of the
// configuration, and what they need of the host comes as descriptors.
//
// The new process is the shim's child, not the forker's (CLONE_PARENT). So the shim
// waits for it, and it dies with the shim.
#include "forker.h"
#include <linux/prctl.h>
#include <linux/sched.h>

#define CONNECTION 3 // the descriptor that the shim gives its forker
#define MS_PRIVATE_ALL (MS_PRIVATE | MS_REC)

struct self self = {.forker = CONNECTION, .conversation = -1, .null = -1, .root = -1, .proc = -1, .blank = -1};

// greet sends the hello: with an error the forker ends.
static void greet(const char *name, long error)
{
	struct hello h = {.error = (i32)-error};
	append(h.call, h.call + sizeof h.call, name);
	transmit(CONNECTION, &h, sizeof h, -1);
	if (error)
		leave(1);
}

static long need(const char *name, long answer)
{
	if (answer < 0)
		greet(name, answer);
	return answer;
}

// probe asks for what a container will need and the forker does not: a kernel that
// has it refuses these arguments, one that lacks it says so.
static void probe(const char *name, long answer)
{
	if (answer == -ENOSYS || answer == -EPERM)
		greet(name, answer);
}

// In a user namespace no device can be made, and proc and sysfs only while there are
// ones in sight that hide nothing. So the forker has the host's.
static struct lent {
	const char *path, *name;
	int directory;
	long mount;
} lent[] = {{"/dev/null", "null", 0, -1}, {"/proc", "proc", 1, -1}, {"/sys", "sys", 1, -1}};
#define LENT (sizeof lent / sizeof *lent)

static void borrow(void)
{
	for (u32 i = 0; i < LENT; i++)
		lent[i].mount = call(open_tree, AT_FDCWD, lent[i].path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
}

static void show(const struct lent *l, long root)
{
	struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
	if (l->directory)
		need("mkdir", call(mkdirat, root, l->name, 0700));
	else
		need("mknod", call(mknodat, root, l->name, S_IFREG | 0600, 0));
	long at = need("openat2", lookup((int)root, l->name, O_PATH, RESOLVE_BENEATH));
	need("move_mount", attach(l->mount, at));
	if (!l->directory)
		need("mount_setattr", call(mount_setattr, l->mount, "", AT_EMPTY_PATH, &read_only, sizeof read_only));
	call(close, at);
	call(close, l->mount);
}

// empty_root leaves the forker one directory with one file, /null, and in a user
// namespace what is lent. Nothing else that is mounted on the host is in its way, or in
// its children's reach.
static void empty_root(void)
{
	need("mount", call(mount, 0, "/", 0, MS_PRIVATE_ALL, 0));
	long fs = need("fsopen", call(fsopen, "tmpfs", FSOPEN_CLOEXEC));
	need("fsconfig", call(fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0700", 0));
	need("fsconfig", call(fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0));
	long root = need("fsmount", call(fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC));
	call(close, fs);
	long node = call(mknodat, root, "null", S_IFCHR | 0666, 1 << 8 | 3);
	if (node == -EPERM)
		borrow();
	else
		need("mknod", node);
	need("move_mount", call(move_mount, root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH));
	need("fchdir", call(fchdir, root));
	need("pivot_root", call(pivot_root, ".", "."));
	need("umount2", call(umount2, ".", MNT_DETACH));
	need("chdir", call(chdir, "/"));
	for (u32 i = 0; i < LENT; i++)
		if (lent[i].mount >= 0)
			show(&lent[i], root);
	self.null = (int)need("open /null", call(openat, root, "null", O_RDWR | O_CLOEXEC, 0));
	struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
	need("mount_setattr", call(mount_setattr, root, "", AT_EMPTY_PATH, &read_only, sizeof read_only));
	call(close, root);
}

static void become(void)
{
	call(umask, 0); // modes of nodes are what they are said to be
	// Nobody reads its memory, or takes its descriptors: a container's process is
	// a copy of it, and may be in the container before it executes the command.
	need("prctl", call(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0));
	empty_root();
	long root = need("openat2", lookup(AT_FDCWD, "/", O_PATH, RESOLVE_IN_ROOT));
	call(close, root);
	probe("clone3", call(clone3, 0, 0));
	probe("pidfd_open", call(pidfd_open, -1, 0));
	probe("setns", call(setns, -1, CLONE_NEWPID));
	probe("close_range", call(close_range, 2, 1, 0));
	probe("open_tree", call(open_tree, -1, "", OPEN_TREE_CLONE));
	probe("faccessat2", call(faccessat2, -1, "x", 1, AT_EACCESS));
	greet("", 0);
}

// child is a new process's beginning. It may be born before the shim has its script.
static _Noreturn void child(void)
{
	self.conversation = self.files[0];
	self.files[0] = self.files[--self.nfiles]; // the others are closed by receive
	call(close, CONNECTION);
	carry_out();
}

static int place(i32 n) { return n >= 0 && (u32)n < self.nfiles ? self.files[n] : -1; }

// bear makes a process, and gives its pid or the kernel's error.
static long bear(const struct request *r)
{
	struct clone_args how = {.flags = r->namespaces | CLONE_PARENT};
	if (r->cgroup >= 0) {
		how.flags |= CLONE_INTO_CGROUP;
		how.cgroup = (u64)place(r->cgroup);
	}
	long pid = call(clone3, &how, sizeof how);
	if (!pid)
		child();
	return pid;
}

// What a thread is to do, and what came of it.
static const struct request *volatile asked;
static volatile long borne;

// bear_there makes a process in another's pid namespace, and ends the thread.
static _Noreturn __attribute__((noinline)) void bear_there(void)
{
	long error = call(setns, place(asked->pids), CLONE_NEWPID);
	borne = error < 0 ? error : bear(asked);
	for (;;)
		call(exit, 0);
}

// The pid namespace that children are born in is each thread's own, and in a user
// namespace one can leave the host's for another, but not come back. So a thread
// goes, and ends there. Until then the forker waits, whose stack it has.
#define THREAD (CLONE_VM | CLONE_VFORK | CLONE_THREAD | CLONE_SIGHAND | CLONE_FS | CLONE_FILES)

static long fork(const struct request *r)
{
	struct clone_args how = {.flags = THREAD};
	if (r->pids < 0)
		return bear(r);
	asked = r;
	long thread = call(clone3, &how, sizeof how);
	if (!thread)
		bear_there();
	return thread < 0 ? thread : borne;
}

// serve answers requests until the shim has ended.
static _Noreturn void serve(void)
{
	for (;;) {
		struct request r;
		struct answer a;
		long n = receive(CONNECTION, &r, sizeof r);
		if (n == -E2BIG || (n > 0 && (n != sizeof r || !self.nfiles)))
			a.pid = -EINVAL;
		else if (n <= 0)
			leave(0);
		else
			a.pid = (i32)fork(&r);
		if (transmit(CONNECTION, &a, sizeof a, -1) < 0)
			leave(0);
	}
}

_Noreturn void begin(void)
{
	become();
	serve();
}

#ifndef HARNESS
// The kernel starts a program with the stack aligned, and without a caller.
#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tcall begin\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tbl begin\n");
#endif
#endif
