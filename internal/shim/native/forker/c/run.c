// Operations: their list, and the reading of their arguments.
#include "forker.h"

static operation *const operations[OPERATIONS] = {
	[OP_DEATH_SIGNAL] = op_death_signal,
	[OP_SESSION] = op_session,
	[OP_CGROUPS] = op_cgroups,
	[OP_JOIN] = op_join,
	[OP_UNSHARE] = op_unshare,
	[OP_ROOT] = op_root,
	[OP_ATTACH] = op_attach,
	[OP_MOUNT] = op_mount,
	[OP_CHANGE] = op_change,
	[OP_NODE] = op_node,
	[OP_LINK] = op_link,
	[OP_LINK_NEW] = op_link_new,
	[OP_READ_ONLY] = op_read_only,
	[OP_MASK] = op_mask,
	[OP_READ_ONLY_ROOT] = op_read_only_root,
	[OP_SETTING] = op_setting,
	[OP_OWN_SETTING] = op_own_setting,
	[OP_PIVOT] = op_pivot,
	[OP_HOST_NAME] = op_host_name,
	[OP_DOMAIN_NAME] = op_domain_name,
	[OP_LOOPBACK] = op_loopback,
	[OP_KEYRING] = op_keyring,
	[OP_LIMIT] = op_limit,
	[OP_STREAMS] = op_streams,
	[OP_TERMINAL] = op_terminal,
	[OP_OWN_STREAMS] = op_own_streams,
	[OP_BOUNDING] = op_bounding,
	[OP_USER] = op_user,
	[OP_CAPABILITIES] = op_capabilities,
	[OP_NO_NEW_PRIVILEGES] = op_no_new_privileges,
	[OP_FILTER] = op_filter,
	[OP_DIRECTORY] = op_directory,
	[OP_FIND] = op_find,
	[OP_UMASK] = op_umask,
	[OP_CLOSE] = op_close,
	[OP_READY] = op_ready,
	[OP_EXECUTE] = op_execute,
	[OP_PERSONALITY] = op_personality,
	[OP_REST] = op_rest,
	[OP_MORE] = op_more,
	[OP_GROUPS] = op_groups,
};

u32 number(struct args *a)
{
	u32 n;
	if ((u64)(a->end - a->at) < sizeof n)
		fail("read operation: it has too few arguments", 0, -EINVAL);
	memcpy(&n, a->at, sizeof n);
	a->at += sizeof n;
	return n;
}

u64 wide(struct args *a)
{
	u64 low = number(a);
	return low | (u64)number(a) << 32;
}

const char *string(struct args *a)
{
	const char *s = (const char *)a->at;
	for (; a->at < a->end; a->at++)
		if (!*a->at) {
			a->at++;
			return s;
		}
	fail("read operation: a string has no end", 0, -EINVAL);
}

int file(struct args *a)
{
	u32 n = number(a);
	if (n == ~0u)
		return -1;
	if (n >= self.nfiles)
		fail("read operation: there is no such descriptor", 0, -EBADF);
	return self.files[n];
}

// run carries out one operation after the other. The last executes the command.
static _Noreturn void run(const u8 *at, u64 size)
{
	struct args all = {at, at + size};
	for (;;) {
		u32 code = number(&all), bytes = number(&all);
		if (code >= OPERATIONS || !operations[code] || bytes > (u64)(all.end - all.at))
			fail("read operation: it is not known, or cut short", 0, -EINVAL);
		struct args a = {all.at, all.at + bytes};
		u64 padded = (bytes + 3ull) & ~3ull, rest = (u64)(all.end - all.at);
		all.at += padded < rest ? padded : rest;
		self.operation = code;
		operations[code](&a);
	}
}

#define PROT_READ 1
#define MAP_PRIVATE 2

// carry_out receives a script, and carries it out.
_Noreturn void carry_out(void)
{
	struct script s;
	long n = must(receive(self.conversation, &s, sizeof s), "receive script", 0);
	if (!n)
		leave(255); // the shim needs the process no more
	if (n != sizeof s || !self.nfiles)
		fail("receive script", 0, -EINVAL);
	long ops = must(call(mmap, 0, s.size, PROT_READ, MAP_PRIVATE, self.files[0], 0), "read operations", 0);
	run((const u8 *)ops, s.size);
}

// op_more goes on with another script, when the shim has it.
void op_more(struct args *a)
{
	(void)a;
	carry_out();
}

// op_rest goes on with another script, in a process that has all that does not depend
// on its command. While it waits it holds nothing of what came with the first.
void op_rest(struct args *a)
{
	(void)a;
	set_root(must(call(openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0), "open", "/"));
	close_files();
	say(WORD_READY, -1);
	carry_out();
}
