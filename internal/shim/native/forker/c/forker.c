// The forker: a small process with nothing of the host's, of which a shim has
// containers' processes forked. A shim is a Go program: it has many threads, and a
// fork of it would cost milliseconds. This has 30 KB, no threads and no mounts.
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

struct self self = {.forker = CONNECTION, .conversation = -1, .null = -1, .me = -1, .root = -1, .proc = -1, .blank = -1};

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

// empty_root leaves the forker one directory with one file, /null. What is mounted
// on the host is neither in its way nor in its children's reach.
static void empty_root(void)
{
	need("mount", call(mount, 0, "/", 0, MS_PRIVATE_ALL, 0));
	long fs = need("fsopen", call(fsopen, "tmpfs", FSOPEN_CLOEXEC));
	need("fsconfig", call(fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0700", 0));
	need("fsconfig", call(fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0));
	long root = need("fsmount", call(fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC));
	call(close, fs);
	need("move_mount", call(move_mount, root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH));
	need("fchdir", call(fchdir, root));
	need("pivot_root", call(pivot_root, ".", "."));
	need("umount2", call(umount2, ".", MNT_DETACH));
	need("chdir", call(chdir, "/"));
	need("mknod", call(mknodat, root, "null", S_IFCHR | 0666, 1 << 8 | 3));
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
	long pid = call(getpid);
	self.me = (int)need("pidfd_open", call(pidfd_open, pid, 0));
	need("setns", call(setns, self.me, CLONE_NEWPID));
	long root = need("openat2", lookup(AT_FDCWD, "/", O_PATH, RESOLVE_IN_ROOT));
	call(close, root);
	probe("clone3", call(clone3, 0, 0));
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
	call(close, self.me);
	carry_out();
}

static int place(i32 n) { return n >= 0 && (u32)n < self.nfiles ? self.files[n] : -1; }

// fork makes a process, and gives its pid or the kernel's error.
static long fork(const struct request *r)
{
	struct clone_args how = {.flags = r->namespaces | CLONE_PARENT};
	if (r->cgroup >= 0) {
		how.flags |= CLONE_INTO_CGROUP;
		how.cgroup = (u64)place(r->cgroup);
	}
	if (r->pids >= 0) {
		long error = call(setns, place(r->pids), CLONE_NEWPID);
		if (error < 0)
			return error;
	}
	long pid = call(clone3, &how, sizeof how);
	if (!pid)
		child();
	// The next one is to begin where the forker is. If not, there is no next one,
	// and the shim hears of none.
	if (r->pids >= 0 && call(setns, self.me, CLONE_NEWPID) < 0) {
		if (pid > 0)
			call(kill, pid, SIGKILL);
		leave(1);
	}
	return pid;
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
