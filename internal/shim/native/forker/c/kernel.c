// What is set in the kernel for a container: its names, its network, its sysctls.
#include "forker.h"

#define AF_INET 2
#define SOCK_DGRAM 2
#define SOCK_CLOEXEC O_CLOEXEC
#define SIOCSIFFLAGS 0x8914
#define IFF_UP 1

// procfs gives one of the own pid namespace. It is this process's: nothing is
// mounted in it, so what is written by it is written where it should be.
static int procfs(void)
{
	if (self.proc < 0)
		self.proc = (int)must(new_mount("proc", 0, 0, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC), "mount", "proc");
	return self.proc;
}

static void set(const char *path, const char *value)
{
	const u64 nothing_else = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS;
	long fd = must(lookup(procfs(), path, O_WRONLY, nothing_else), "open /proc", path);
	must(call(write, fd, value, length(value)), "set /proc", path);
	call(close, fd);
}

void op_setting(struct args *a)
{
	const char *path = string(a);
	set(path, string(a));
}

void op_own_setting(struct args *a)
{
	char path[PATH_SIZE], *end = path + sizeof path;
	char *at = append_number(path, end, (u64)must(call(getpid), "getpid", 0));
	append(append(at, end, "/"), end, string(a));
	set(path, string(a));
}

void op_host_name(struct args *a)
{
	const char *name = string(a);
	must(call(sethostname, name, length(name)), "set host name", name);
}

void op_domain_name(struct args *a)
{
	const char *name = string(a);
	must(call(setdomainname, name, length(name)), "set domain name", name);
}

void op_loopback(struct args *a)
{
	struct {
		char name[16];
		u16 flags;
		char rest[22];
	} lo = {.name = "lo", .flags = IFF_UP};
	(void)a;
	long s = must(call(socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "make socket", 0);
	must(call(ioctl, s, SIOCSIFFLAGS, &lo), "bring up", "lo");
	call(close, s);
}
