package forker

import "golang.org/x/sys/unix"

// Each method appends an operation; c/wire.h has the list. Strings hold no zero
// byte, or they would end there.

// DeathSignal has the process die when this one does.
func (s *Script) DeathSignal() { s.add(opDeathSignal) }

// Session makes the process the leader of a new session.
func (s *Script) Session() { s.add(opSession) }

// JoinCgroups has it write itself into version 1's lists of threads.
func (s *Script) JoinCgroups(lists []int) {
	if len(lists) == 0 {
		return
	}
	first := uint32(given + len(s.given))
	for _, fd := range lists {
		s.place(fd)
	}
	s.add(opCgroups, first, uint32(len(lists)))
}

// Join has it join a namespace, or those of a process, by its descriptor.
func (s *Script) Join(fd int, kinds uint32) { s.add(opJoin, s.place(fd), kinds) }

// Unshare gives it namespaces of its own that it could not begin in.
func (s *Script) Unshare(kinds uint32) { s.add(opUnshare, kinds) }

// Root makes a mount that is attached nowhere the root that paths are looked up in.
func (s *Script) Root(mount int) { s.add(opRoot, s.place(mount)) }

// Attach attaches a mount at target.
func (s *Script) Attach(mount int, how Target, target string) {
	s.add(opAttach, s.place(mount), how, target)
}

// Option is one of a file system's. One without a value is a flag.
type Option struct{ Name, Value string }

// Mount makes a file system and mounts it at target, with attributes MOUNT_ATTR_*.
func (s *Script) Mount(attributes uint32, how Target, target, kind string, options []Option) {
	var words []string
	for _, o := range options {
		words = append(words, o.Name, o.Value)
	}
	s.add(opMount, attributes, how, target, kind, words)
}

// Change adds attributes to the mount at target.
func (s *Script) Change(attributes uint32, target string) {
	s.add(opChange, attributes, Target(0), target)
}

// Node makes a device, or a fifo. What is there already stays.
func (s *Script) Node(mode, major, minor, uid, gid uint32, path string) {
	s.add(opNode, mode, major, minor, uid, gid, path)
}

// Link makes a symbolic link, in place of what is there.
func (s *Script) Link(to, path string) { s.add(opLink, to, path) }

// LinkNew makes one unless something is there.
func (s *Script) LinkNew(to, path string) { s.add(opLinkNew, to, path) }

// ReadOnly makes what is below a path read-only, if the path is there.
func (s *Script) ReadOnly(path string) { s.add(opReadOnly, path) }

// Mask hides a path, if it is there.
func (s *Script) Mask(path string) { s.add(opMask, path) }

// ReadOnlyRoot makes the root's own mount read-only.
func (s *Script) ReadOnlyRoot() { s.add(opReadOnlyRoot) }

// Setting writes to a file of procfs, by its path from there.
func (s *Script) Setting(path, value string) { s.add(opSetting, path, value) }

// OwnSetting writes to one in the process's own directory of procfs.
func (s *Script) OwnSetting(path, value string) { s.add(opOwnSetting, path, value) }

// Pivot makes the root the process's own.
func (s *Script) Pivot() { s.add(opPivot) }

// HostName sets the name of the UTS namespace.
func (s *Script) HostName(name string) { s.add(opHostName, name) }

// DomainName sets its NIS domain.
func (s *Script) DomainName(name string) { s.add(opDomainName, name) }

// Loopback brings up the network namespace's own interface.
func (s *Script) Loopback() { s.add(opLoopback) }

// Keyring gives the process a session keyring of that name, which it shares with
// those that have joined it. permissions 0 leaves them as they are.
func (s *Script) Keyring(permissions uint32, name string) { s.add(opKeyring, permissions, name) }

// Limit sets a resource limit, RLIMIT_*.
func (s *Script) Limit(resource int, soft, hard uint64) {
	s.add(opLimit, uint32(resource), soft, hard)
}

// Streams gives the process its standard streams; -1 is /dev/null.
func (s *Script) Streams(in, out, err int) {
	s.add(opStreams, s.place(in), s.place(out), s.place(err))
}

// Terminal makes one of the container's, which become the standard streams. 0 rows
// leave its size unset. console has it at /dev/console too.
func (s *Script) Terminal(rows, columns uint32, console bool) {
	s.add(opTerminal, rows, columns, console)
}

// OwnStreams gives the files of the streams to a user.
func (s *Script) OwnStreams(uid uint32) { s.add(opOwnStreams, uid) }

// Bounding drops all capabilities but these from the bounding set.
func (s *Script) Bounding(keep uint64) { s.add(opBounding, keep) }

// Groups gives it the further groups that it is in, in place of those that it has.
func (s *Script) Groups(groups []uint32) { s.add(opGroups, uint32(len(groups)), groups) }

// User makes it a user's.
func (s *Script) User(uid, gid uint32) { s.add(opUser, uid, gid) }

// Capabilities are sets, a bit for each.
type Capabilities struct{ Bounding, Effective, Permitted, Inheritable, Ambient uint64 }

// Capabilities sets all but the bounding set.
func (s *Script) Capabilities(c Capabilities) {
	s.add(opCapabilities, c.Effective, c.Permitted, c.Inheritable, c.Ambient)
}

// NoNewPrivileges has no execve give it rights.
func (s *Script) NoNewPrivileges() { s.add(opNoNewPrivileges) }

// Filter filters its system calls, with flags SECCOMP_FILTER_FLAG_*. privileged is
// that it may gain privileges later, and so needs some for this.
func (s *Script) Filter(flags uint32, privileged bool, program []unix.SockFilter) {
	var words []uint32
	for _, i := range program {
		words = append(words, uint32(i.Code)|uint32(i.Jt)<<16|uint32(i.Jf)<<24, i.K)
	}
	s.add(opFilter, flags, privileged, uint32(len(program)), words)
}

// Directory enters the working directory. make makes a missing one.
func (s *Script) Directory(make bool, path string) { s.add(opDirectory, make, path) }

// Find finds what Execute executes: name, in a list of directories like PATH.
func (s *Script) Find(directories, name string) { s.add(opFind, directories, name) }

// Umask sets the mask of new files' modes.
func (s *Script) Umask(mask uint32) { s.add(opUmask, mask) }

// CloseFiles closes all descriptors but the streams.
func (s *Script) CloseFiles() { s.add(opClose) }

// Rest has the process be ready, and go on with another script, by Child.Carry. It
// comes last.
func (s *Script) Rest() { s.add(opRest) }

// More has the process go on with another script, by Child.Carry. It comes last.
func (s *Script) More() { s.add(opMore) }

// Ready waits for Child.Start.
func (s *Script) Ready() { s.add(opReady) }

// Execute executes the command. It comes last.
func (s *Script) Execute(arguments, variables []string) {
	s.add(opExecute, uint32(len(arguments)), uint32(len(variables)), arguments, variables)
}

// Personality sets the execution domain, personality(2).
func (s *Script) Personality(persona uint32) { s.add(opPersonality, persona) }
