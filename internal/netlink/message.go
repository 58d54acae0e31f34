package netlink

import (
	"iter"
	"strings"

	"golang.org/x/sys/unix"
)

// message is one that was received, without its header.
type message struct {
	typ, flags uint16
	seq        uint32 // of the request that it answers
	body       []byte
}

// messages walks what one read has given. What is cut short ends it.
func messages(b []byte) iter.Seq[message] {
	return func(yield func(message) bool) {
		for len(b) >= unix.NLMSG_HDRLEN {
			n := int(native.Uint32(b))
			if n < unix.NLMSG_HDRLEN || n > len(b) {
				return
			}
			if !yield(message{native.Uint16(b[4:]), native.Uint16(b[6:]), native.Uint32(b[8:]), b[unix.NLMSG_HDRLEN:n]}) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

// failure is the error that an answer tells of; nil if it tells of none.
func (m message) failure(request string) error {
	if len(m.body) < 4 {
		return &Error{request, unix.EBADMSG, ""}
	}
	errno := unix.Errno(-int32(native.Uint32(m.body)))
	if errno == 0 {
		return nil
	}
	e := &Error{Request: request, Errno: errno}
	const header = 4 + unix.NLMSG_HDRLEN // the errno, and the request's header
	if m.flags&unix.NLM_F_ACK_TLVS != 0 && len(m.body) > header {
		for typ, data := range Attrs(m.body[header:]) {
			if typ == unix.NLMSGERR_ATTR_MSG {
				e.Why = strings.TrimRight(string(data), "\x00")
			}
		}
	}
	return e
}

// typeMask takes the flags off an attribute's type.
const typeMask = ^uint16(unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)

// Attrs walks attributes: type without its flags, and data. What is cut short
// ends it.
func Attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofNlAttr {
			n := int(native.Uint16(b))
			if n < unix.SizeofNlAttr || n > len(b) {
				return
			}
			if !yield(native.Uint16(b[2:])&typeMask, b[unix.SizeofNlAttr:n]) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

// Messages walks what one read of a socket has given: types, and what follows
// the header.
func Messages(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for m := range messages(b) {
			if !yield(m.typ, m.body) {
				return
			}
		}
	}
}
