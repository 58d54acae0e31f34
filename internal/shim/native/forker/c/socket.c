// Messages with descriptors, over the sockets that the shim has made.
#include "forker.h"

#define SOL_SOCKET 1
#define SCM_RIGHTS 1
#define MSG_CTRUNC 8
#define MSG_TRUNC 0x20
#define MSG_NOSIGNAL 0x4000
#define MSG_CMSG_CLOEXEC 0x40000000

struct vector {
	void *base;
	u64 size;
};
struct message {
	void *name;
	u32 name_size;
	struct vector *vectors;
	u64 nvectors;
	void *control;
	u64 control_size;
	u32 flags;
};
struct control {
	u64 size;
	i32 level, type;
};
struct rights {
	struct control head;
	i32 files[FILES];
};

// close_files closes the descriptors that came with the last message.
void close_files(void)
{
	while (self.nfiles)
		call(close, self.files[--self.nfiles]);
}

// keep_files notes the descriptors that came with a message.
static void keep_files(const struct rights *r, u64 size)
{
	if (size < sizeof r->head || r->head.level != SOL_SOCKET || r->head.type != SCM_RIGHTS)
		return;
	u64 n = (r->head.size - sizeof r->head) / sizeof r->files[0];
	for (u64 i = 0; i < n && i < FILES; i++)
		self.files[self.nfiles++] = r->files[i];
}

// receive reads a message. Its descriptors take the place of those that came
// before, which are closed.
long receive(int from, void *message, u32 size)
{
	static struct rights r;
	struct vector v = {message, size};
	struct message m = {.vectors = &v, .nvectors = 1, .control = &r, .control_size = sizeof r};
	close_files();
	long n = call(recvmsg, from, &m, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return n;
	keep_files(&r, m.control_size);
	return m.flags & (MSG_CTRUNC | MSG_TRUNC) ? -E2BIG : n;
}

// transmit sends a message, with a descriptor unless that is -1.
long transmit(int to, const void *message, u32 size, int descriptor)
{
	struct rights r = {{sizeof r.head + sizeof r.files[0], SOL_SOCKET, SCM_RIGHTS}, {descriptor}};
	struct vector v = {(void *)message, size};
	struct message m = {.vectors = &v, .nvectors = 1};
	if (descriptor >= 0) {
		m.control = &r;
		m.control_size = (r.head.size + 7) & ~7ull;
	}
	return call(sendmsg, to, &m, MSG_NOSIGNAL);
}
