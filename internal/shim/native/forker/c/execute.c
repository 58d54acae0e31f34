// The last steps: the command is found, and executed.
#include "forker.h"
#include <linux/close_range.h>

#define EXECUTABLE 1 // X_OK

// make_directories makes a directory of the container, whose root is the process's.
static void make_directories(const char *path)
{
	int made;
	if (call(chdir, path) >= 0)
		return;
	set_root(must(call(openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0), "open", "/"));
	long fd = must(target(path, TARGET_DIRECTORY | TARGET_IN_PROC, &made), "make working directory", path);
	call(close, fd);
}

// op_directory enters the working directory. One that is outside of the root, by a
// descriptor of the host's that was left open, would be a way out.
void op_directory(struct args *a)
{
	u32 make = number(a);
	const char *path = string(a);
	char now[PATH_SIZE];
	if (make)
		make_directories(path);
	must(call(chdir, path), "enter working directory", path);
	long n = call(getcwd, now, sizeof now);
	if (n < 0 || now[0] != '/')
		fail("enter working directory: it is outside of the container", path, n < 0 ? n : -EPERM);
}

// check tells whether a file can be executed, as far as its mode says.
static long check(const char *path)
{
	struct statx st;
	long error = call(statx, AT_FDCWD, path, 0, STATX_TYPE, &st);
	if (error < 0)
		return error;
	if ((st.stx_mode & S_IFMT) == S_IFDIR)
		return -EISDIR;
	return call(faccessat2, AT_FDCWD, path, EXECUTABLE, AT_EACCESS);
}

static int has_slash(const char *name)
{
	while (*name && *name != '/')
		name++;
	return *name;
}

// search looks a name up in a list of directories. Those that are not absolute are
// left out, as os/exec does.
static long search(const char *directories, const char *name)
{
	long error = -ENOENT;
	while (*directories) {
		char *at = self.command, *end = self.command + sizeof self.command;
		u64 size = 0; // of the directory's name
		for (; *directories && *directories != ':'; directories++, size++)
			if (at + 1 < end)
				*at++ = *directories;
		if (*directories)
			directories++;
		*at = 0;
		append(append(at, end, "/"), end, name);
		if (!size || self.command[0] != '/' || size + 1 + length(name) >= sizeof self.command)
			continue;
		long found = check(self.command);
		if (!found)
			return 0;
		if (found == -EACCES)
			error = found;
	}
	return error;
}

void op_find(struct args *a)
{
	const char *directories = string(a), *name = string(a);
	long error;
	if (has_slash(name)) {
		append(self.command, self.command + sizeof self.command, name);
		error = length(name) < sizeof self.command ? check(name) : -ENAMETOOLONG;
	} else {
		error = search(directories, name);
	}
	must(error, "find", name);
}

// op_close leaves the command nothing but its streams.
void op_close(struct args *a)
{
	(void)a;
	if (self.conversation != 3)
		must(call(dup3, self.conversation, 3, O_CLOEXEC), "move conversation", 0);
	self.conversation = 3;
	must(call(close_range, 4, ~0u, 0), "close descriptors", 0);
	self.nfiles = 0;
}

void op_ready(struct args *a)
{
	(void)a;
	say(WORD_READY, -1);
	await_start();
}

// strings writes down where count strings begin.
static const char **strings(struct args *a, u32 count, const char **to)
{
	while (count--)
		*to++ = string(a);
	*to++ = 0;
	return to;
}

#define PROT_READ 1
#define PROT_WRITE 2
#define MAP_PRIVATE 2
#define MAP_ANONYMOUS 0x20

void op_execute(struct args *a)
{
	u32 arguments = number(a), variables = number(a);
	u64 size = ((u64)arguments + variables + 2) * sizeof(char *);
	// Not on the stack: there may be more than it holds.
	const char **argv = (const char **)must(call(mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "get memory", 0);
	const char **envp = strings(a, arguments, argv);
	strings(a, variables, envp);
	must(call(execve, self.command, argv, envp), "execute", self.command);
	fail("execute", self.command, -EINVAL);
}
