package forker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// order is the byte order of all processors that there are forkers for.
var order = binary.LittleEndian

// Operations of c/wire.h.
const (
	opDeathSignal = iota + 1
	opSession
	opCgroups
	opJoin
	opUnshare
	opRoot
	opAttach
	opMount
	opChange
	opNode
	opLink
	opLinkNew
	opReadOnly
	opMask
	opReadOnlyRoot
	opSetting
	opOwnSetting
	opPivot
	opHostName
	opDomainName
	opLoopback
	opKeyring
	opLimit
	opStreams
	opTerminal
	opOwnStreams
	opBounding
	opUser
	opCapabilities
	opNoNewPrivileges
	opFilter
	opDirectory
	opFind
	opUmask
	opClose
	opReady
	opExecute
	opPersonality
	opRest
	opMore
	opGroups
)

// Target says how the target of a mount is looked up, in the container's root.
type Target uint32

// As c/wire.h has them.
const (
	Directory Target = 1 << iota // a missing one is made
	File                         // likewise
	NoLinks                      // not through any link
	Mode                         // a new file system's root has the target's mode
	InProc                       // it may be in a procfs
	Keep                         // the mount is the procfs that settings are made by
)

const (
	given    = 1   // descriptors of each script's message, before the script's own
	maxFiles = 240 // of a script; SCM_RIGHTS carries 253
)

// Script is a list of operations, in the order in which they are carried out, and of
// the descriptors that they need. Its zero value is an empty one.
type Script struct {
	operations []byte
	given      []int
	owned      []int
}

// Own has Close close a descriptor.
func (s *Script) Own(fd int) { s.owned = append(s.owned, fd) }

// Close closes the descriptors that the script owns.
func (s *Script) Close() {
	for _, fd := range s.owned {
		unix.Close(fd)
	}
	s.owned = nil
}

// Len is the size of the operations in bytes.
func (s *Script) Len() int { return len(s.operations) }

// Fits tells whether there is room for more descriptors.
func (s *Script) Fits(more int) bool { return len(s.given)+more <= maxFiles }

// send sends the script to a process, by our end of the conversation with it.
func (s *Script) send(conversation *os.File) error {
	if !s.Fits(0) {
		return fmt.Errorf("a process with %d mounts and other descriptors; %d is what fits: %w", len(s.given), maxFiles, errdefs.ErrInvalidArgument)
	}
	operations, err := s.memory()
	if err != nil {
		return err
	}
	defer unix.Close(operations)
	raw, err := conversation.SyscallConn()
	if err != nil {
		return err
	}
	message := order.AppendUint64(nil, uint64(len(s.operations))) // struct script of c/wire.h
	rights := unix.UnixRights(append([]int{operations}, s.given...)...)
	var serr error
	err = raw.Write(func(fd uintptr) bool {
		serr = unix.Sendmsg(int(fd), message, rights, nil, unix.MSG_NOSIGNAL)
		return serr != unix.EAGAIN && serr != unix.EINTR
	})
	if serr == unix.EPIPE || serr == unix.ECONNRESET { // nothing listens
		return ErrEnded
	}
	return errors.Join(err, os.NewSyscallError("sendmsg", serr))
}

// memory gives the operations as a file: they may be longer than a message.
func (s *Script) memory() (int, error) {
	fd, err := unix.MemfdCreate("operations", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // Linux before 6.3
		fd, err = unix.MemfdCreate("operations", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	for b := s.operations; len(b) > 0; {
		n, err := unix.Write(fd, b)
		if err != nil && err != unix.EINTR {
			unix.Close(fd)
			return -1, os.NewSyscallError("write", err)
		}
		b = b[max(n, 0):]
	}
	return fd, nil
}

// place notes a descriptor for the process, and gives its number there.
func (s *Script) place(fd int) uint32 {
	if fd < 0 {
		return ^uint32(0)
	}
	s.given = append(s.given, fd)
	return uint32(given + len(s.given) - 1)
}

// add appends an operation: numbers of 32 or 64 bits, then strings.
func (s *Script) add(operation uint32, arguments ...any) {
	s.operations = order.AppendUint32(s.operations, operation)
	size := len(s.operations)
	s.operations = order.AppendUint32(s.operations, 0)
	for _, a := range arguments {
		switch a := a.(type) {
		case uint32:
			s.operations = order.AppendUint32(s.operations, a)
		case Target:
			s.operations = order.AppendUint32(s.operations, uint32(a))
		case bool:
			n := uint32(0)
			if a {
				n = 1
			}
			s.operations = order.AppendUint32(s.operations, n)
		case uint64:
			s.operations = order.AppendUint64(s.operations, a)
		case []uint32:
			for _, n := range a {
				s.operations = order.AppendUint32(s.operations, n)
			}
		case string:
			s.operations = append(append(s.operations, a...), 0)
		case []string:
			for _, t := range a {
				s.operations = append(append(s.operations, t...), 0)
			}
		default:
			panic(fmt.Sprintf("forker: argument of type %T", a))
		}
	}
	order.PutUint32(s.operations[size:], uint32(len(s.operations)-size-4))
	for len(s.operations)%4 != 0 {
		s.operations = append(s.operations, 0)
	}
}
