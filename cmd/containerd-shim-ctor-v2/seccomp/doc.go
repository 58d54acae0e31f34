// Package seccomp makes libcontainer load seccomp filters that were compiled
// before.
//
// libcontainer has libseccomp compile the profile in every process that it
// starts: 15 to 20 ms for a usual one, more than all the rest of a start.
// Here a profile is compiled once, and each later start is given a stand-in:
// a profile that allows nothing and whose first syscall has for a name the
// ready program, encoded. libseccomp is asked for that syscall's number, and
// then for the program; both questions are answered by ready.c, which the
// linker puts between libcontainer and libseccomp. So the program travels as
// the profile itself does: with the container's configuration, to its first
// process and to each that is started in it later, through no file and no
// descriptor that could be missing or someone else's.
//
// A shim that serves one container would compile for it alone. So what one has
// compiled it leaves in a directory for the next, with a sum of the program and
// of what it was made from; what does not add up is compiled again.
//
// It fails closed. Whatever goes wrong on the way (no program, a damaged one,
// a libcontainer that asks otherwise) ends in an error, or in the stand-in
// itself being loaded, under which a process is killed at its first syscall.
package seccomp
