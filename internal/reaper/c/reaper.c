// The first process of a container that has Config.Init: it executes the command
// that it is given, passes on signals to it, and waits for every process that the
// container leaves to it. It ends with the command, and as it did.
//
// It is made like the forker, links nothing, and knows nothing of where it runs.
#include "../../shim/native/forker/c/call.h"

#define SIGCHLD 17
#define SIG_SETMASK 2
#define WNOHANG 1
#define ENOENT 2
#define EINTR 4
#define EACCES 13
#define ENOTDIR 20
#define PR_SET_CHILD_SUBREAPER 36
#define TIOCSPGRP 0x5410
#define PATH_MAX 4096

static const char standard[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static u64 length(const char *s)
{
	u64 n = 0;
	while (s[n])
		n++;
	return n;
}

static void complain(const char *command)
{
	static const char why[] = ": init can't execute it\n";
	call(write, 2, command, length(command));
	call(write, 2, why, sizeof why - 1);
}

static int has_slash(const char *s)
{
	for (; *s; s++)
		if (*s == '/')
			return 1;
	return 0;
}

// path gives the directories in which a command without a slash is looked for.
static const char *path(char **envp)
{
	for (; *envp; envp++) {
		const char *e = *envp;
		if (e[0] == 'P' && e[1] == 'A' && e[2] == 'T' && e[3] == 'H' && e[4] == '=')
			return e + 5;
	}
	return standard;
}

// execute gives the code to end with if the command can't be executed: the shell's.
static int execute(char **argv, char **envp)
{
	const char *name = argv[0];
	int code = 127;
	if (has_slash(name)) {
		long failed = call(execve, name, argv, envp);
		return failed == -ENOENT || failed == -ENOTDIR ? 127 : 126;
	}
	char file[PATH_MAX];
	for (const char *dir = path(envp);; dir++) {
		u64 n = 0;
		for (; *dir && *dir != ':'; dir++)
			if (n < PATH_MAX)
				file[n++] = *dir;
		if (n == 0)
			file[n++] = '.';
		u64 size = length(name);
		if (n + 1 + size < PATH_MAX) {
			file[n++] = '/';
			for (u64 i = 0; i <= size; i++)
				file[n + i] = name[i];
			long failed = call(execve, file, argv, envp);
			if (failed != -ENOENT && failed != -ENOTDIR)
				code = 126;
			if (failed != -ENOENT && failed != -ENOTDIR && failed != -EACCES)
				return code;
		}
		if (!*dir)
			return code;
	}
}

static int how(int status)
{
	int signal = status & 0x7f;
	return signal ? 128 + signal : (status >> 8) & 0xff;
}

// reap waits for all that have ended. If the command has, so does this.
static void reap(long command)
{
	for (;;) {
		int status = 0;
		long pid = call(wait4, -1, &status, WNOHANG, 0);
		if (pid == -EINTR)
			continue;
		if (pid <= 0)
			return;
		if (pid == command)
			call(exit_group, how(status));
	}
}

__attribute__((used)) void begin(long *stack)
{
	char **argv = (char **)(stack + 1), **envp = argv + stack[0] + 1;
	u64 all = ~0ull, before = 0;
	argv++; // what follows its own name
	if (stack[0] < 2)
		call(exit_group, 127);
	call(rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
	call(prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	long command = call(clone, SIGCHLD, 0, 0, 0, 0);
	if (command == 0) {
		// A process group of its own, and the terminal, so that ^C is for it
		// and what it starts. The signal of a write from the background is
		// blocked here.
		call(setpgid, 0, 0);
		int group = (int)call(getpid);
		call(ioctl, 0, TIOCSPGRP, &group);
		call(rt_sigprocmask, SIG_SETMASK, &before, 0, 8);
		int code = execute(argv, envp);
		complain(argv[0]);
		call(exit_group, code);
	}
	if (command < 0) {
		complain(argv[0]);
		call(exit_group, 126);
	}
	for (;;) {
		long signal = call(rt_sigtimedwait, &all, 0, 0, 8);
		if (signal == SIGCHLD)
			reap(command);
		else if (signal > 0)
			call(kill, command, signal);
	}
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x0, sp\n\tbl begin\n");
#endif
