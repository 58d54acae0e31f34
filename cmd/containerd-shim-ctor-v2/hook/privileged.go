package hook

// nsenter acts on an environment variable and a descriptor before Go's runtime
// starts: nothing written in Go could come before it. So this is in C, and a
// constructor of a higher priority. A file that was made set-uid by mistake would
// else give namespaces of root's to anybody.

/*
#include <sys/auxv.h>
#include <unistd.h>

__attribute__((constructor(101))) static void refuse_privileged(void)
{
	static const char why[] = "containerd-shim-ctor-v2: its file is set-uid or set-gid, or has file capabilities, and must not: chmod ug-s and setcap -r it\n";
	if (getauxval(AT_SECURE)) {
		(void)!write(2, why, sizeof why - 1);
		_exit(1);
	}
}
*/
import "C"
