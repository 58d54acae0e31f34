package forker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Child is a process that was forked, until it has executed its command: a
// conversation with it.
type Child struct {
	Pid  int
	talk *os.File
}

// Refusal is what a process could not do, by what it says itself.
type Refusal struct {
	Finding   bool // it was looking for its command
	Executing bool // or executing it
	What      string
	Errno     unix.Errno
}

func (r *Refusal) Error() string { return r.What + ": " + r.Errno.Error() }

// Unwrap gives the kernel's error.
func (r *Refusal) Unwrap() error { return r.Errno }

// Words of c/wire.h.
const (
	wordError = iota + 1
	wordTerminal
	wordReady

	wordText = 12 // where the text begins
	wordSize = wordText + 500
)

// ErrEnded is the error of a process that has ended before it was ready.
var ErrEnded = errors.New("its first process has ended")

// Carry has a process carry a script out: one that was forked without, that is ready
// after Script.Rest, or that has another before it which ends with Script.More.
func (c *Child) Carry(s *Script) error {
	err := s.send(c.talk)
	if errors.Is(err, ErrEnded) { // it may have said why
		if _, word := c.listen(context.Background(), 0); word != nil && !errors.Is(word, io.EOF) {
			err = word
		}
	}
	return err
}

// Ready waits until the process waits for its start. terminal is the master of its
// terminal, non-blocking, and the caller's; nil if it was to have none.
func (c *Child) Ready(ctx context.Context) (terminal *os.File, err error) {
	terminal, err = c.listen(ctx, wordReady)
	if errors.Is(err, io.EOF) {
		err = ErrEnded
	}
	return terminal, err
}

// Start lets a process that is ready execute its command.
func (c *Child) Start() error {
	_, err := c.talk.Write([]byte{1})
	return err
}

// Executed waits until the process has executed its command, or has ended: the one
// can't be told from the other here. After it there is nothing more to say.
func (c *Child) Executed(ctx context.Context) (terminal *os.File, err error) {
	terminal, err = c.listen(ctx, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return terminal, err
}

// Close ends the conversation. A process that waits for its start ends with it.
func (c *Child) Close() { c.talk.Close() }

// listen waits for a word, or the end of the conversation: io.EOF.
func (c *Child) listen(ctx context.Context, until uint32) (terminal *os.File, err error) {
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.talk.SetReadDeadline(time.Unix(1, 0))
		close(cut)
	})
	defer func() {
		if !stop() { // it must not cut off who listens next
			<-cut
			_ = c.talk.SetReadDeadline(time.Time{})
		}
	}()
	defer func() {
		if ctx.Err() != nil && err != nil {
			err = ctx.Err()
		}
		if err != nil && !errors.Is(err, io.EOF) && terminal != nil {
			terminal.Close()
			terminal = nil
		}
	}()
	for {
		kind, fd, err := c.word()
		if fd >= 0 {
			terminal = os.NewFile(uintptr(fd), "console")
		}
		if err != nil || kind == until {
			return terminal, err
		}
		if kind != wordTerminal || fd < 0 {
			return terminal, fmt.Errorf("its process says %d, which means nothing here", kind)
		}
	}
}

// word reads one, with the descriptor that comes along; -1 is none.
func (c *Child) word() (kind uint32, fd int, err error) {
	b, rights := make([]byte, wordSize), make([]byte, unix.CmsgSpace(4))
	raw, err := c.talk.SyscallConn()
	if err != nil {
		return 0, -1, err
	}
	var n, nrights int
	rerr := raw.Read(func(fd uintptr) bool {
		n, nrights, _, _, err = unix.Recvmsg(int(fd), b, rights, unix.MSG_CMSG_CLOEXEC)
		return err != unix.EAGAIN && err != unix.EINTR
	})
	if err == unix.ECONNRESET { // it has ended before it read what it was sent
		n, err = 0, nil
	}
	if err = errors.Join(rerr, err); err != nil {
		return 0, -1, err
	}
	if n == 0 {
		return 0, -1, io.EOF
	}
	if fd, err = received(rights[:nrights]); err != nil {
		return 0, -1, err
	}
	if n != wordSize {
		return 0, fd, fmt.Errorf("its process says %d bytes that mean nothing here", n)
	}
	if kind = order.Uint32(b); kind == wordError {
		return kind, fd, refusal(b)
	}
	return kind, fd, nil
}

func refusal(b []byte) error {
	operation := order.Uint32(b[4:])
	text, _, _ := bytes.Cut(b[wordText:], []byte{0})
	return &Refusal{
		Finding: operation == opFind, Executing: operation == opExecute,
		What: string(text), Errno: unix.Errno(order.Uint32(b[8:])),
	}
}

// received gives the descriptor of a message, non-blocking for Go's poller.
func received(rights []byte) (int, error) {
	if len(rights) == 0 {
		return -1, nil
	}
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) != 1 {
		return -1, fmt.Errorf("descriptor of a terminal: %w", errors.Join(err, unix.EBADMSG))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return -1, fmt.Errorf("descriptor of a terminal: %w", errors.Join(err, unix.EBADMSG))
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fds[0], nil
}
