// The forker on a kernel that is a function: it answers plausibly, fails one call if
// it is told to, and looks at every byte that it is given, as the sanitizers do.
//
// An order is five numbers and then operations: which call fails, counted from 1 (0:
// none); with what error; what the container's files are (0: what they should be);
// whether it is a new process's life (1) or the forker's (0); the operations' size.
// The answer is a line: how it ended, after how many calls, the number of the call
// that failed, and the error that the shim was told.
#include "../c/forker.h"
#include <asm/statfs.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define FDS 1024
#define GIVEN 120 // descriptors of a request
#define CALLS 400000

static struct {
	u8 open, cloexec;
	u16 mode;
	u32 major, minor;
	u64 type;
} fds[FDS];
static long calls, fail_at, fail_with, failed = -1, world, child, requests, scripts, nopen;
static u64 size;
static u8 *operations;
static char told[600] = "-";
static char node[256];
static u32 node_mode, node_major, node_minor;

static void end(const char *how)
{
	printf("%s %ld %ld %s\n", how, calls, failed, told);
	fflush(stdout);
	_exit(0);
}

static long new_fd(u32 mode, u64 type, int cloexec)
{
	for (int i = 0; i < FDS; i++)
		if (!fds[i].open) {
			memset(&fds[i], 0, sizeof fds[i]);
			fds[i].open = 1, fds[i].cloexec = (u8)cloexec, fds[i].mode = (u16)mode, fds[i].type = type ? type : TMPFS_MAGIC;
			nopen++;
			return i;
		}
	return -EMFILE;
}

static int is_open(long fd) { return fd >= 0 && fd < FDS && fds[fd].open; }

static void shut(long fd)
{
	if (is_open(fd))
		fds[fd].open = 0, nopen--;
}

// read_string has the sanitizer look at every byte.
static u32 read_string(long at)
{
	volatile u32 sum = 0;
	const char *s = (const char *)at;
	u32 n = 0;
	while (s[n])
		sum += (u8)s[n++];
	return n;
}

static void read_bytes(long at, u64 n)
{
	volatile u32 sum = 0;
	for (u64 i = 0; i < n; i++)
		sum += ((const u8 *)at)[i];
}

static u32 hash(const char *s)
{
	u32 h = (u32)world * 2654435761u;
	while (*s)
		h = (h ^ (u8)*s++) * 16777619u;
	return h >> 7;
}

static int ends(const char *s, const char *with)
{
	u32 n = length(s), m = length(with);
	return n >= m && same(s + n - m, with);
}

static long device(long fd, u32 major, u32 minor)
{
	if (fd >= 0)
		fds[fd].major = major, fds[fd].minor = minor;
	return fd;
}

static long open_path(const char *path, u64 flags)
{
	int cloexec = !!(flags & O_CLOEXEC);
	if (world && hash(path) % 5 == 0)
		return hash(path) % 3 ? -ENOENT : -ELOOP;
	if (world && flags & O_NOFOLLOW && hash(path) % 5 == 1)
		return new_fd(S_IFLNK | 0777, 0, cloexec);
	if (*node && ends(path, node))
		return device(new_fd(node_mode, TMPFS_MAGIC, cloexec), node_major, node_minor);
	if (world && hash(path) % 5 == 2)
		return new_fd(S_IFREG | 0644, 0, cloexec);
	if (ends(path, "null"))
		return device(new_fd(S_IFCHR | 0666, TMPFS_MAGIC, cloexec), 1, 3);
	if (ends(path, "ptmx"))
		return device(new_fd(S_IFCHR | 0666, DEVPTS_SUPER_MAGIC, cloexec), 5, 2);
	if (ends(path, "kcore") || ends(path, "_list") || ends(path, "console"))
		return new_fd(S_IFREG | 0644, 0, cloexec);
	return new_fd(S_IFDIR | 0755, 0, cloexec);
}

static long look(long fd, const char *path, struct statx *st)
{
	memset(st, 0, sizeof *st);
	if (!*path && !is_open(fd))
		return -EBADF;
	if (*path) {
		if (world && hash(path) % 3 == 0)
			return -ENOENT;
		st->stx_mode = S_IFREG | 0755;
		return 0;
	}
	st->stx_mode = fds[fd].mode, st->stx_ino = (u64)fd + 100;
	st->stx_rdev_major = fds[fd].major, st->stx_rdev_minor = fds[fd].minor;
	return 0;
}

static long link_to(char *to, u64 room)
{
	static char text[PATH_SIZE];
	u64 n = 1 + hash("link") % 40;
	if (world % 4 == 1)
		n = PATH_SIZE - 1;
	for (u64 i = 0; i < n; i++)
		text[i] = "/a/../bc"[(i + (u64)world) % 8];
	n = n < room ? n : room;
	for (u64 i = 0; i < n; i++)
		to[i] = text[i];
	return (long)n;
}

// What recvmsg and sendmsg are given.
struct message {
	void *name;
	u32 name_size;
	struct vector {
		void *base;
		u64 size;
	} *vectors;
	u64 nvectors;
	void *control;
	u64 control_size;
	u32 flags;
};

// give makes descriptors that come with a message.
static void give(struct message *m)
{
	struct {
		u64 size;
		i32 level, type;
		i32 files[GIVEN];
	} rights = {sizeof rights, 1, 1, {0}};
	for (int i = 0; i < GIVEN; i++)
		rights.files[i] = (i32)new_fd(S_IFREG, 0, 1);
	if (m->control_size < sizeof rights)
		end("room");
	__builtin_memcpy(m->control, &rights, sizeof rights);
	m->control_size = sizeof rights;
}

// script_at is where in the operations the nth script begins: behind an OP_REST.
static u64 script_at(long n)
{
	struct head h;
	for (u64 at = 0; n > 1 && at + sizeof h <= size;) {
		__builtin_memcpy(&h, operations + at, sizeof h);
		at += sizeof h + ((h.size + 3ull) & ~3ull);
		if (h.operation == OP_REST && !(--n - 1))
			return at < size ? at : size;
	}
	return n > 1 ? size : 0;
}

// hear_script gives a new process its script, and the next. Where there is none the
// shim lets go of it.
static long hear_script(struct message *m)
{
	u64 at = script_at(++scripts);
	struct script s = {size - at};
	if (scripts > 1 && (scripts > 4 || !s.size))
		end("left");
	give(m);
	__builtin_memcpy(m->vectors->base, &s, sizeof s);
	return sizeof s;
}

// hear gives the forker a request, and later the end.
static long hear(struct message *m)
{
	static long at_first;
	if (m->vectors->size == sizeof(struct script))
		return hear_script(m);
	struct request r = {.namespaces = CLONE_NEWNS, .cgroup = requests & 1 ? -1 : 2, .pids = requests & 2 ? -1 : 3};
	if (!requests++)
		at_first = nopen;
	if (nopen != at_first)
		end("leak");
	if (requests > 8)
		return 0;
	give(m);
	if (m->vectors->size < sizeof r)
		end("room");
	__builtin_memcpy(m->vectors->base, &r, sizeof r);
	m->flags = requests == 3 ? 8 : requests == 4 ? 0x20 : 0; // MSG_CTRUNC, MSG_TRUNC
	return requests == 5 ? 3 : (long)sizeof r;
}

static long tell(struct message *m)
{
	read_bytes((long)m->vectors->base, m->vectors->size);
	if (m->control)
		read_bytes((long)m->control, m->control_size);
	if (m->vectors->size == sizeof(struct word)) {
		struct word *w = m->vectors->base;
		if (w->text[sizeof w->text - 1])
			end("endless");
		if (w->kind == WORD_ERROR)
			snprintf(told, sizeof told, "%d:%d:%s", w->operation, w->error, w->text);
	} else if (m->vectors->size == sizeof(struct hello)) {
		struct hello *h = m->vectors->base;
		if (h->error)
			snprintf(told, sizeof told, "hello:%d:%.28s", h->error, h->call);
	}
	return (long)m->vectors->size;
}

static long map(u64 n, long fd)
{
	if (fd >= 0 && operations) {
		u8 *copy = malloc(n ? n : 1);
		__builtin_memcpy(copy, operations + script_at(scripts), n);
		return n ? (long)copy : -EINVAL;
	}
	void *made = n <= 64 << 20 ? calloc(1, n) : 0;
	return made ? (long)made : -ENOMEM;
}

static void execute(const char **argv, const char **envp)
{
	while (*argv)
		read_string((long)*argv++);
	while (*envp)
		read_string((long)*envp++);
	for (int i = 3; i < FDS; i++)
		if (fds[i].open && !fds[i].cloexec)
			end("leak");
	end("executed");
}

static long answer(long number, long a, long b, long c, long d, long e);

// kernel answers a call, or fails it.
long kernel(long number, long a, long b, long c, long d, long e, long f)
{
	(void)f;
	if (number == __NR_exit_group)
		end(a == 0 ? "left" : a == 1 ? "unfit" : "ended");
	if (number == __NR_exit) // a thread, which leaves the answer to the forker
		end("refused");
	if (++calls > CALLS)
		end("loop");
	if (calls == fail_at) {
		failed = number;
		if (number == __NR_close)
			shut(a);
		return -fail_with;
	}
	return answer(number, a, b, c, d, e);
}

static long answer(long number, long a, long b, long c, long d, long e)
{
	struct __user_cap_data_struct *caps;
	switch (number) {
	case __NR_openat2:
		read_bytes(c, (u64)d);
		if (a != AT_FDCWD && !is_open(a))
			return -EBADF;
		return read_string(b) >= PATH_SIZE ? -ENAMETOOLONG : open_path((const char *)b, ((struct open_how *)c)->flags);
	case __NR_openat:
		return read_string(b) >= PATH_SIZE ? -ENAMETOOLONG : open_path((const char *)b, (u64)c);
	case __NR_close:
		if (!is_open(a))
			end("closed");
		shut(a);
		return 0;
	case __NR_close_range:
		if (a > b)
			return -EINVAL;
		for (long i = a; i < FDS; i++)
			shut(i);
		return 0;
	case __NR_dup3:
		if (!is_open(a) || a == b)
			return a == b ? -EINVAL : -EBADF;
		nopen += !fds[b].open;
		fds[b] = fds[a];
		fds[b].cloexec = !!(c & O_CLOEXEC);
		return b;
	case __NR_statx:
		read_string(b);
		return look(a, (const char *)b, (struct statx *)e);
	case __NR_fstatfs:
		memset((void *)b, 0, sizeof(struct statfs));
		if (!is_open(a))
			return -EBADF;
		((struct statfs *)b)->f_type = (long)fds[a].type;
		return 0;
	case __NR_readlinkat:
		return link_to((char *)c, (u64)d);
	case __NR_mknodat:
		snprintf(node, sizeof node, "%s", (const char *)b);
		node_mode = (u32)c, node_major = (u32)d >> 8 & 0xfff, node_minor = ((u32)d & 0xff) | ((u32)d >> 12 & ~0xffu);
		return 0;
	case __NR_symlinkat:
		read_string(a), read_string(c);
		return 0;
	case __NR_fsopen:
		read_string(a);
		return new_fd(S_IFREG, 0, !!(b & FSOPEN_CLOEXEC));
	case __NR_fsconfig:
		if (c)
			read_string(c);
		if (d)
			read_string(d);
		return is_open(a) ? 0 : -EBADF;
	case __NR_fsmount:
		return new_fd(S_IFDIR | 0755, 0, !!(b & FSMOUNT_CLOEXEC));
	case __NR_open_tree:
		if (!is_open(a))
			return -EBADF;
		return new_fd(fds[a].mode, fds[a].type, !!(c & OPEN_TREE_CLOEXEC));
	case __NR_move_mount:
		return is_open(a) && (c == AT_FDCWD || is_open(c)) ? 0 : -EBADF;
	case __NR_mount_setattr:
		read_bytes(d, (u64)e);
		return is_open(a) ? 0 : -EBADF;
	case __NR_pidfd_open:
	case __NR_socket:
		return new_fd(S_IFREG, 0, 1);
	case __NR_ioctl:
		return b == 0x5441 ? new_fd(S_IFCHR, DEVPTS_SUPER_MAGIC, 1) : 0; // TIOCGPTPEER
	case __NR_setns:
	case __NR_fchdir:
	case __NR_fchown:
		return is_open(a) ? 0 : -EBADF;
	case __NR_write:
		read_bytes(b, (u64)c);
		return is_open(a) ? c : -EBADF;
	case __NR_read:
		*(u8 *)b = 1;
		return is_open(a) ? 1 : -EBADF;
	case __NR_recvfrom:
		return -EAGAIN;
	case __NR_recvmsg:
		return hear((struct message *)b);
	case __NR_sendmsg:
		return is_open(a) ? tell((struct message *)b) : -EBADF;
	case __NR_clone3:
		if (!a)
			return -EINVAL;
		read_bytes(a, (u64)b);
		return child ? 0 : 77;
	case __NR_mmap:
		return map((u64)b, e);
	case __NR_getcwd:
		__builtin_memcpy((void *)a, "/", 2);
		return 2;
	case __NR_getpid:
		return 7;
	case __NR_capget:
		caps = (void *)b;
		memset(caps, 0xff, 2 * sizeof *caps);
		return 0;
	case __NR_capset:
		read_bytes(b, 2 * sizeof *caps);
		return 0;
	case __NR_prctl:
		return a == PR_CAPBSET_DROP && b > 40 ? -EINVAL : 0;
	case __NR_setgroups:
		read_bytes(b, 4 * (u64)a);
		return 0;
	case __NR_chdir:
	case __NR_unlinkat:
	case __NR_mkdirat:
	case __NR_faccessat2:
		read_string(number == __NR_chdir ? a : b);
		return 0;
	case __NR_sethostname:
	case __NR_setdomainname:
		read_bytes(a, (u64)b);
		return 0;
	case __NR_prlimit64:
		read_bytes(c, 16);
		return 0;
	case __NR_keyctl:
		if (a == 1)
			read_string(b);
		return 5;
	case __NR_seccomp: {
		struct {
			u16 n;
			u8 *filter;
		} *program = (void *)c;
		read_bytes((long)program->filter, 8ull * program->n);
		return 0;
	}
	case __NR_execve:
		read_string(a);
		execute((const char **)b, (const char **)c);
	}
	return 0;
}

static int take(void *to, u64 n)
{
	for (u64 done = 0; done < n;) {
		long got = read(0, (u8 *)to + done, n - done);
		if (got <= 0)
			return 0;
		done += (u64)got;
	}
	return 1;
}

// main has a process of its own for each order, since the forker's state is global.
int main(void)
{
	struct {
		u32 fail, with, world, child, size;
	} o;
	for (int i = 0; i < 4; i++)
		new_fd(S_IFREG, 0, i == 3);
	while (take(&o, sizeof o)) {
		int status = 0;
		fail_at = o.fail, fail_with = o.with, world = o.world, child = o.child, size = o.size;
		operations = malloc(size ? size : 1);
		if (!take(operations, size))
			return 1;
		pid_t pid = fork();
		if (!pid) {
			alarm(60);
			begin();
		}
		free(operations);
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			return 1;
		if (status)
			printf("crashed %d 0 -\n", status);
		fflush(stdout);
	}
	return 0;
}
