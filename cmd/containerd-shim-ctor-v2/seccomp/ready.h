//go:build seccomp

#include <stddef.h>

// What a syscall's "name" begins with when it is a ready program.
#define READY_PREFIX "ctor-ready:"

// record has the programs that are exported from now on written to fd, and
// their export fail, so that they are not loaded.
void ctor_record(int fd);

// recorded says how the last recording went: 0, a negative errno, or 1 for
// nothing exported yet.
int ctor_recorded(void);
