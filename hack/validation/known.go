package main

// known are the checks, by program, that ours fails and runc passes, and why that is as
// it should be.
var known = map[string]string{
	`hooks_stdin: the state of the container MUST be passed to "poststop" hook over stdin`: "runc has hooks called, and is told by an annotation where CRIU finds the configuration that keeps checkpoints inside",
	"linux_ns_itype: inherit namespace mnt without type":                                   "a shim has a mount namespace of its own, so that none of its mounts is the host's",
}
