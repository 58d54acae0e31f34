// What the shim and the forker agree on. The Go side has the same numbers; a
// test holds them to these.
#ifndef WIRE_H
#define WIRE_H

#include "call.h"

// The forker's first message: whether this kernel can do what it is for.
struct hello {
	i32 error;     // 0, or what the kernel answered
	char call[28]; // which call it was
};

// A request is one message, with descriptors: the conversation with the new process
// is the first of them.
struct request {
	u64 namespaces; // CLONE_NEW*
	i32 cgroup;     // which descriptor is version 2's cgroup to begin in; -1: none
	i32 pids;       // which is the pid namespace to begin in, or a pidfd; -1: none
};

struct answer {
	i32 pid; // below 0: an error's number, negated
};

// What a new process hears first, and where its script says so once more: one message,
// with descriptors, of which the first holds its operations.
struct script {
	u64 size; // of the operations, in bytes
};

// What a new process says: one message each. It ends the conversation without
// a word when it executes its command. What else the shim says is one byte: go on.
enum {
	WORD_ERROR = 1, // and it has ended
	WORD_TERMINAL,  // with a descriptor: the master
	WORD_READY,     // it waits for the start
};
struct word {
	u32 kind;
	u32 operation;
	i32 error;
	char text[500]; // ends in 0
};

// Operations follow each other, each with this head and then its arguments:
// numbers of 32 bits (a u64 is two of them, the low half first) and after them
// strings that end in 0. They are padded to 4 bytes.
struct head {
	u32 operation;
	u32 size; // of the arguments
};

enum {
	OP_DEATH_SIGNAL = 1, // die when the shim's thread does
	OP_SESSION = 2,      // lead a session
	OP_CGROUPS = 3,      // first, count: descriptors of lists to join
	OP_JOIN = 4,         // descriptor of a namespace or process, CLONE_NEW*
	OP_UNSHARE = 5,      // CLONE_NEW*
	OP_ROOT = 6,         // descriptor of the root file system's mount
	OP_ATTACH = 7,       // descriptor of a mount, TARGET_*, target
	OP_MOUNT = 8,        // MOUNT_ATTR_*, TARGET_*, target, type, then options: name, value
	OP_CHANGE = 9,       // MOUNT_ATTR_* to set, TARGET_*, target: of a mount that is there
	OP_NODE = 10,        // mode, major, minor, uid, gid, path
	OP_LINK = 11,        // what, path: in place of what is there
	OP_LINK_NEW = 12,    // what, path: unless something is there
	OP_READ_ONLY = 13,   // path
	OP_MASK = 14,        // path
	OP_READ_ONLY_ROOT = 15,
	OP_SETTING = 16, // path in procfs, value
	OP_OWN_SETTING = 17, // path in the process's directory of procfs, value
	OP_PIVOT = 18,
	OP_HOST_NAME = 19,   // name
	OP_DOMAIN_NAME = 20, // name
	OP_LOOPBACK = 21,
	OP_KEYRING = 22,     // permissions, 0: as they are; name
	OP_LIMIT = 23,       // resource, soft u64, hard u64
	OP_STREAMS = 24,     // three descriptors; -1: /dev/null
	OP_TERMINAL = 25,    // rows, columns, whether it is /dev/console as well
	OP_OWN_STREAMS = 26, // uid
	OP_BOUNDING = 27,    // capabilities u64
	OP_USER = 28,        // uid, gid
	OP_CAPABILITIES = 29, // effective, permitted, inheritable, ambient: u64 each
	OP_NO_NEW_PRIVILEGES = 30,
	OP_FILTER = 31,    // flags, whether it needs CAP_SYS_ADMIN, count, instructions as two numbers
	OP_DIRECTORY = 32, // whether to make it, path
	OP_FIND = 33,      // list of directories, name
	OP_UMASK = 34,     // mask
	OP_CLOSE = 35,     // everything but the streams and the conversation
	OP_READY = 36,     // say so, and wait for the start
	OP_EXECUTE = 37,   // count of arguments, count of variables, all of them
	OP_PERSONALITY = 38, // persona
	OP_REST = 39,        // say that it is ready, and go on with another script
	OP_MORE = 40,        // go on with another script
	OP_GROUPS = 41,      // count, groups
	OPERATIONS
};

// How the target of a mount is looked up.
enum {
	TARGET_DIRECTORY = 1, // made if it is missing
	TARGET_FILE = 2,      // likewise
	TARGET_NO_LINKS = 4,  // not through any link
	TARGET_MODE = 8,      // a new file system's root has the target's mode
	TARGET_IN_PROC = 16,  // may be in a procfs
	TARGET_KEEP = 32,     // the mount is the procfs for settings
};

#endif
