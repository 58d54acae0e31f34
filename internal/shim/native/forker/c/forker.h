// What the forker's files have of each other.
#ifndef FORKER_H
#define FORKER_H

#include "wire.h"
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/stat.h>

#define MNT_DETACH 2
#define SIGKILL 9
#define PATH_SIZE 4096

#define FILES 250 // SCM_RIGHTS carries no more than 253

// What a process of the forker's knows. A new one begins with a copy.
struct self {
	int forker;       // connection with the shim
	int conversation; // likewise, of a new process
	int null;         // a /dev/null that no container can reach
	int files[FILES]; // that came with the request
	u32 nfiles;
	int root; // directory below which paths are looked up: by set_root
	struct identity {
		u64 inode, device;
	} root_is;
	int root_is_proc;
	int proc; // a procfs of the own pid namespace; -1: none yet
	int blank; // root of the tmpfs that was mounted last: no image has put links there; -1: none
	char blank_path[PATH_SIZE];
	u32 operation;    // that is carried out
	char command[PATH_SIZE];
};
extern struct self self;

// The arguments of an operation, as far as they have not been read.
struct args {
	const u8 *at, *end;
};
u32 number(struct args *a);
u64 wide(struct args *a);
const char *string(struct args *a);
int file(struct args *a); // a descriptor by its place in the request, not to be closed; -1 stays so

// word.c
_Noreturn void fail(const char *what, const char *on, long error);
long must(long answer, const char *what, const char *on);
void say(u32 kind, int descriptor);
int heard(void);
void await_start(void);
_Noreturn void leave(int status);

// text.c
void *memcpy(void *to, const void *from, unsigned long n);
void *memset(void *to, int byte, unsigned long n);
u32 length(const char *s);
int same(const char *a, const char *b);
char *append(char *at, const char *end, const char *s);
char *append_number(char *at, const char *end, u64 n);

// socket.c
long receive(int from, void *message, u32 size);
void close_files(void);
long transmit(int to, const void *message, u32 size, int descriptor);

// root.c
void set_root(long fd);
#define INSIDE (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
long lookup(int dir, const char *path, u64 flags, u64 resolve);
long target(const char *path, u32 flags, int *made);
void forget_blank(void);
long make_parent(const char *path, const char **name);
u64 kind(long fd, u64 *device);
u64 file_system(long fd);

// mount.c
long new_mount(const char *type, struct args *options, u32 mode, u32 attributes);
long attach(long mount, long at);
long copy(long fd, int recursive);

// forker.c
_Noreturn void begin(void);

// run.c
_Noreturn void carry_out(void);

// The operations, by file.
typedef void operation(struct args *a);
operation op_root, op_attach, op_mount, op_change, op_read_only, op_mask, op_read_only_root, op_pivot;
operation op_node, op_link, op_link_new, op_streams, op_terminal, op_own_streams;
operation op_setting, op_own_setting, op_host_name, op_domain_name, op_loopback;
operation op_death_signal, op_session, op_cgroups, op_join, op_unshare, op_keyring, op_limit, op_umask, op_personality;
operation op_bounding, op_groups, op_user, op_capabilities, op_no_new_privileges, op_filter;
operation op_directory, op_find, op_close, op_rest, op_more, op_ready, op_execute;

#endif
