package container

// Security changes the walls of a container, in either direction. Its zero value is
// what docs/security.md lists: Docker's walls or higher ones. [Hardened] is the
// strictest.
type Security struct {
	// ReadOnly keeps the container from writing to its root file system. Mounts,
	// volumes and Tmp can still be written to.
	ReadOnly bool

	// Tmp is the size in bytes of memory on /tmp, for all to write and not to
	// execute, which counts as the container's. 0 means that /tmp is the image's. One
	// of Mounts on /tmp goes before it.
	Tmp int64

	// UserNS gives the container users of its own: its root, and each user up to
	// 65,535, is on the host one that has nothing there, and that no other container
	// of the engine has (numbers from 1,879,048,192 on). Files of the image, volumes
	// and bind mounts are shown with the container's users (idmapped mounts): what it
	// writes to volumes and bind mounts has the numbers that it would have without
	// UserNS. A file system that can't do that is ctor.ErrInvalid; overlayfs can since
	// Linux 5.19. UserNS can't be used with Privileged, nor by [Over].
	//
	// What the container writes to its root file system has the host's numbers for its
	// users, in FS and in an image committed from it; and what FS writes there belongs
	// to nobody in the container, which may read it as its mode says.
	UserNS bool

	// CapAdd and CapDrop change the 14 capabilities that a container's root has
	// unless told otherwise, by their names with or without "CAP_"; "ALL" is all that
	// the program has. What is named beats "ALL". A user who is not root has none, as
	// with Docker: these bound what a set-uid program could give it.
	CapAdd, CapDrop []string

	// Privileged gives the container nearly all that the program has: capabilities,
	// devices, /proc and /sys unmasked and to be written to, no filter of system calls.
	// Its root is the host's.
	Privileged bool

	// NewPrivileges lets programs gain rights when they are executed, by their set-uid
	// bit or file capabilities, up to those of the container, as sudo and ping do.
	NewPrivileges bool

	// Seccomp is a filter of system calls in Docker's format, JSON
	// (docs.docker.com/engine/security/seccomp). nil means the default;
	// {"defaultAction": "SCMP_ACT_ALLOW"} filters nothing.
	Seccomp []byte

	// Mask are further paths that the container finds empty, beside those of /proc
	// and /sys that each has, and Unmask are those of them that it is to see, and to
	// write to where they are read-only otherwise; "ALL" is all.
	Mask, Unmask []string

	// AppArmor is the name of a profile that the host has loaded. "" means
	// ctor-default, where the host has AppArmor on, and "unconfined" none.
	AppArmor string

	// SELinux is the label of the container's processes, such as
	// "system_u:system_r:container_t:s0:c1,c2"; its files get the same categories.
	// "" means none.
	SELinux string
}

// Hardened is the strictest set that common programs still run under, for code that
// you don't trust: users of its own, no capabilities, a root file system that is
// read-only, 64 MiB of memory at /tmp, and nothing that gives rights. With the zero
// Network there is no way out. Bound what it may use with Limits as well: Hardened
// says nothing of processors and memory.
//
// Programs that write elsewhere need a Mount there: docs/security.md says what those
// are for PostgreSQL, Redis, nginx and others. Relax single walls in the value that
// this returns.
func Hardened() Security {
	return Security{ReadOnly: true, Tmp: 64 << 20, UserNS: true, CapDrop: []string{"ALL"}}
}
