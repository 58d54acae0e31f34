package link

import "fmt"

// Protocol is the version of what the two ends agree on: this package, the bundle
// that a detached shim works in, and what requests mean beyond containerd's task
// API. It counts up with each change that one end would get wrong if the other had
// not made it. An engine's shims are given it and refuse any but their own, so
// that a library and a shim of different versions fail at once, and not somehow.
// Stock's are not given it: that one is started by a shim of its own file, and
// spoken to as containerd speaks to any.
const Protocol = "3"

// Args are the arguments that a program starts a shim with.
func Args(kind string) []string { return []string{Name, kind, Protocol} }

// Kind is which kind of shim the arguments, without the program's name, ask for.
// "" is none: they mean something else. It is an error if they come from a
// program that does not speak Protocol.
func Kind(args []string) (string, error) {
	var kind, protocol string
	if len(args) > 0 {
		kind = args[0]
	}
	if len(args) > 1 {
		protocol = args[1]
	}
	switch {
	case kind == Stock && len(args) == 1:
		return kind, nil
	case kind != Attached && kind != Detached:
		return "", nil
	case protocol != Protocol:
		return "", fmt.Errorf("the program that started it speaks %s, and this shim %s", Named(protocol), Named(Protocol))
	}
	return kind, nil
}

// Named is how errors name a protocol. "" is none: no number was told.
func Named(protocol string) string {
	if protocol == "" {
		return "no protocol"
	}
	return "protocol " + protocol
}
