// Package netlink tells the kernel, in few system calls, how a network namespace
// is to be: links, addresses, routes, and, for package nft, tables of rules.
//
// A [Batch] is built and sent as one message; the kernel does its requests in
// order, and answers the last one and those that fail. What the library needs is some dozen requests, whose
// layout is the kernel's interface and does not change; a general library would
// be larger than all of it, and would send each request by itself.
package netlink

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

var native = binary.NativeEndian

// A Batch is a list of requests. The zero value is empty.
type Batch struct {
	buf      []byte
	start    int       // of the request that is being built
	nests    []int     // where its open nested attributes begin
	messages int       // in all
	requests []request // that the kernel may answer
}

type request struct {
	name   string
	number int // among all messages
	flags  int // where its flags are in buf
}

// Begin begins a request: a message of a type with flags and a fixed header. If
// flags has NLM_F_ACK, what becomes of it is waited for, and name is what an error
// calls it.
func (b *Batch) Begin(name string, typ, flags uint16, header []byte) *Batch {
	b.finish()
	b.start = len(b.buf)
	var h [unix.NLMSG_HDRLEN]byte
	native.PutUint16(h[4:], typ)
	native.PutUint16(h[6:], flags|unix.NLM_F_REQUEST)
	b.buf = append(append(b.buf, h[:]...), header...)
	b.pad()
	if flags&unix.NLM_F_ACK != 0 {
		b.requests = append(b.requests, request{name, b.messages, b.start + 6})
	}
	b.messages++
	return b
}

// finish writes the length of the request that is being built.
func (b *Batch) finish() {
	if len(b.buf) > b.start {
		native.PutUint32(b.buf[b.start:], uint32(len(b.buf)-b.start))
	}
}

func (b *Batch) pad() {
	for len(b.buf)%4 != 0 {
		b.buf = append(b.buf, 0)
	}
}

// hush has the kernel answer the last request alone. It tells of a failure unasked, and
// an answer to each of the others would cost as much as the request.
func (b *Batch) hush() {
	for _, r := range b.requests[:max(len(b.requests)-1, 0)] {
		native.PutUint16(b.buf[r.flags:], native.Uint16(b.buf[r.flags:])&^unix.NLM_F_ACK)
	}
}

// named is what an error of a message calls it. What fails with a transaction as a
// whole is told of the message that opens it, which has no name.
func (b *Batch) named(number int) string {
	for _, r := range b.requests {
		if r.number >= number {
			return r.name
		}
	}
	return ""
}

// Bytes gives the batch as it is sent.
func (b *Batch) Bytes() []byte {
	b.finish()
	return b.buf
}

// Attr adds an attribute to the request.
func (b *Batch) Attr(typ uint16, data []byte) *Batch {
	var h [unix.SizeofNlAttr]byte
	native.PutUint16(h[:], uint16(len(h)+len(data)))
	native.PutUint16(h[2:], typ)
	b.buf = append(append(b.buf, h[:]...), data...)
	b.pad()
	return b
}

// String adds a string, with a zero byte behind it.
func (b *Batch) String(typ uint16, s string) *Batch { return b.Attr(typ, append([]byte(s), 0)) }

// Uint8 adds a number, as Uint32 does in the machine's order, and Big32 in the
// network's, which nftables has.
func (b *Batch) Uint8(typ uint16, v uint8) *Batch { return b.Attr(typ, []byte{v}) }

// Uint32 is told of at Uint8.
func (b *Batch) Uint32(typ uint16, v uint32) *Batch { return b.Attr(typ, native.AppendUint32(nil, v)) }

// Big32 is told of at Uint8.
func (b *Batch) Big32(typ uint16, v uint32) *Batch {
	return b.Attr(typ, binary.BigEndian.AppendUint32(nil, v))
}

// Nest opens an attribute that holds what is added until End, behind header.
func (b *Batch) Nest(typ uint16, header ...byte) *Batch {
	b.nests = append(b.nests, len(b.buf))
	var h [unix.SizeofNlAttr]byte
	native.PutUint16(h[2:], typ|unix.NLA_F_NESTED)
	b.buf = append(append(b.buf, h[:]...), header...)
	b.pad()
	return b
}

// End closes the attribute that Nest opened last.
func (b *Batch) End() *Batch {
	at := b.nests[len(b.nests)-1]
	b.nests = b.nests[:len(b.nests)-1]
	native.PutUint16(b.buf[at:], uint16(len(b.buf)-at))
	return b
}

// Error is what the kernel refused.
type Error struct {
	Request string     // as Begin named it
	Errno   unix.Errno // why
	Why     string     // the kernel's own words, if it had any
}

func (e *Error) Error() string {
	if e.Why != "" {
		return fmt.Sprintf("%s: %v (%s)", e.Request, e.Errno, e.Why)
	}
	return fmt.Sprintf("%s: %v", e.Request, e.Errno)
}

// Unwrap gives the errno.
func (e *Error) Unwrap() error { return e.Errno }
