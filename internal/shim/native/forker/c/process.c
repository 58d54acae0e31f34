// What a process is in, who it is, and what it may.
#include "forker.h"
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

// die_with_shim asks for the signal that ends this process with the shim. If that
// has ended already there will be none.
static void die_with_shim(void)
{
	must(call(prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "ask for death signal", 0);
	if (!heard())
		leave(255);
}

void op_death_signal(struct args *a)
{
	(void)a;
	die_with_shim();
}

void op_session(struct args *a)
{
	(void)a;
	must(call(setsid), "setsid", 0);
}

// op_cgroups joins version 1's cgroups. A process that joins by itself, and alone,
// by the list of threads, takes no lock of all processes; moved from outside it
// would wait for an RCU grace period.
void op_cgroups(struct args *a)
{
	u32 first = number(a), count = number(a);
	for (u32 i = 0; i < count; i++) {
		if (first + i >= self.nfiles)
			fail("join cgroup: there is no such descriptor", 0, -EBADF);
		must(call(write, self.files[first + i], "0", 1), "join cgroup", 0);
	}
}

void op_join(struct args *a)
{
	int namespace = file(a);
	must(call(setns, namespace, number(a)), "join namespace", 0);
}

void op_unshare(struct args *a) { must(call(unshare, number(a)), "unshare", 0); }

// op_keyring begins a session keyring, or joins the one of that name. Kernels
// without keyrings need none.
void op_keyring(struct args *a)
{
	u32 permissions = number(a);
	const char *name = string(a);
	long ring = call(keyctl, KEYCTL_JOIN_SESSION_KEYRING, name);
	if (ring == -ENOSYS)
		return;
	must(ring, "join keyring", name);
	if (permissions)
		must(call(keyctl, KEYCTL_SETPERM, ring, permissions), "open keyring", name);
}

void op_limit(struct args *a)
{
	u32 resource = number(a);
	u64 limit[2];
	limit[0] = wide(a);
	limit[1] = wide(a);
	must(call(prlimit64, 0, resource, limit, 0), "set resource limit", 0);
}

void op_umask(struct args *a) { call(umask, number(a)); }

void op_personality(struct args *a) { must(call(personality, number(a)), "set personality", 0); }

void op_bounding(struct args *a)
{
	u64 keep = wide(a);
	for (int c = 0; c < 64; c++) {
		if (keep >> c & 1)
			continue;
		long error = call(prctl, PR_CAPBSET_DROP, c, 0, 0, 0);
		if (error == -EINVAL) // the kernel has no more
			return;
		must(error, "drop capability", 0);
	}
}

void op_groups(struct args *a)
{
	u32 count = number(a);
	if (count > (u64)(a->end - a->at) / sizeof(u32))
		fail("set groups: there are fewer", 0, -EINVAL);
	must(call(setgroups, count, a->at), "set groups", 0);
}

// op_user changes the user. The capabilities that it may have stay permitted until
// they are set.
void op_user(struct args *a)
{
	u32 uid = number(a), gid = number(a);
	must(call(setresgid, gid, gid, gid), "set group", 0);
	must(call(prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities", 0);
	must(call(setresuid, uid, uid, uid), "set user", 0);
	must(call(prctl, PR_SET_KEEPCAPS, 0, 0, 0, 0), "keep capabilities", 0);
	// With the old user the kernel forgets both: that no process of this user may
	// trace it (unless fs.suid_dumpable says so), and the signal.
	must(call(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0), "forbid tracing", 0);
	die_with_shim();
}

static void set_capabilities(u64 effective, u64 permitted, u64 inheritable)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct set[2] = {
		{(u32)effective, (u32)permitted, (u32)inheritable},
		{(u32)(effective >> 32), (u32)(permitted >> 32), (u32)(inheritable >> 32)},
	};
	must(call(capset, &head, set), "set capabilities", 0);
}

void op_capabilities(struct args *a)
{
	u64 effective = wide(a), permitted = wide(a), inheritable = wide(a), ambient = wide(a);
	set_capabilities(effective, permitted, inheritable);
	must(call(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "clear ambient capabilities", 0);
	for (int c = 0; c < 64; c++)
		if (ambient >> c & 1) // one that is not permitted or inheritable is left out, as runc has it
			call(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0);
}

void op_no_new_privileges(struct args *a)
{
	(void)a;
	must(call(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "give up new privileges", 0);
}

// permit makes effective what is permitted, which a change of the user has undone.
static void permit(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct now[2];
	memset(now, 0, sizeof now);
	must(call(capget, &head, now), "read capabilities", 0);
	u64 permitted = now[0].permitted | (u64)now[1].permitted << 32;
	set_capabilities(permitted, permitted, now[0].inheritable | (u64)now[1].inheritable << 32);
}

// op_filter comes as late as it can: each system call after it is one that the
// profile must allow. They are capset, prctl and execve.
void op_filter(struct args *a)
{
	u32 flags = number(a), privileged = number(a), count = number(a);
	if (count > 0xffff || count > (u64)(a->end - a->at) / sizeof(struct sock_filter))
		fail("filter system calls: there are fewer instructions", 0, -EINVAL);
	struct sock_fprog program = {(u16)count, (struct sock_filter *)(void *)a->at};
	if (privileged)
		permit();
	must(call(seccomp, SECCOMP_SET_MODE_FILTER, flags, &program), "filter system calls", 0);
}
