// What a new process says to the shim.
#include "forker.h"

#define MSG_PEEK 2
#define MSG_DONTWAIT 0x40

_Noreturn void leave(int status)
{
	call(exit_group, status);
	__builtin_unreachable();
}

// fail says what can't be done, on what, and why, and ends the process.
_Noreturn void fail(const char *what, const char *on, long error)
{
	struct word w = {.kind = WORD_ERROR, .operation = self.operation, .error = (i32)-error};
	char *end = w.text + sizeof w.text, *at = append(w.text, end, what);
	if (on) {
		at = append(at, end, " ");
		append(at, end, on);
	}
	transmit(self.conversation, &w, sizeof w, -1);
	leave(255);
}

long must(long answer, const char *what, const char *on)
{
	if (answer < 0)
		fail(what, on, answer);
	return answer;
}

void say(u32 kind, int descriptor)
{
	struct word w = {.kind = kind, .operation = self.operation};
	if (transmit(self.conversation, &w, sizeof w, descriptor) < 0)
		leave(255); // the shim has ended, and does not listen
}

// heard tells whether the shim still has its end of the conversation.
int heard(void)
{
	u8 word;
	long n = call(recvfrom, self.conversation, &word, 1, MSG_PEEK | MSG_DONTWAIT, 0, 0);
	return n > 0 || n == -EAGAIN;
}

void await_start(void)
{
	u8 start;
	if (call(read, self.conversation, &start, 1) != 1)
		leave(255);
}
