package forker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Pool is a shim's forkers. Its methods may be called at the same time.
type Pool struct {
	starter *starter
	size    int
	// The channel is the queue: Go serves those who wait in the order in which they
	// came. nil stands for a forker that has to be started.
	idle  chan *forker
	close sync.Once
}

// Built tells whether there is a forker for this processor.
func Built() bool { return len(program) > 0 }

// Start starts n forkers. If this kernel lacks what they need, the error is
// errors.ErrUnsupported, and says what.
func Start(n int) (*Pool, error) { return start(n, nil) }

func start(n int, before func() error) (*Pool, error) {
	s, err := newStarter(before)
	if err != nil {
		return nil, err
	}
	p := &Pool{starter: s, size: n, idle: make(chan *forker, n)}
	for range n {
		p.idle <- nil
	}
	f, err := p.take(context.Background()) // the others when they are needed
	if err != nil {
		p.Close()
		return nil, err
	}
	p.idle <- f
	return p, nil
}

// take gives a forker, which has to be given back.
func (p *Pool) take(ctx context.Context) (*forker, error) {
	select {
	case f := <-p.idle:
		if f != nil {
			return f, nil
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f, err := p.starter.start()
	if err != nil {
		p.idle <- nil
	}
	return f, err
}

// Close ends the forkers, when they have done what they are asked. What they have
// forked ends too, if it has not: with the thread that has started them.
func (p *Pool) Close() {
	p.close.Do(func() {
		for range p.size {
			if f := <-p.idle; f != nil {
				f.end()
			}
		}
		p.starter.close()
	})
}

// Order is what a process is made by.
type Order struct {
	Namespaces uint64 // new ones: CLONE_NEW*
	Cgroup     int    // version 2's to begin in, by the descriptor of its directory; -1: none
	Pids       int    // a pid namespace to begin in, or a process in it, by its descriptor; -1: none

	// Script is what the process begins with at once; nil: it waits for Child.Carry.
	Script *Script
}

// Fork makes a process. It is a child of this process, and the caller's to wait for.
// The order's descriptors stay the caller's, and so do the script's.
func (p *Pool) Fork(ctx context.Context, o Order) (*Child, error) {
	ours, theirs, err := conversation()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	if o.Script != nil {
		if err := o.Script.send(ours); err != nil {
			ours.Close()
			return nil, err
		}
	}
	request, files := o.request(int(theirs.Fd()))
	pid, err := p.fork(ctx, request, files)
	if err != nil {
		ours.Close()
		return nil, err
	}
	return &Child{Pid: pid, talk: ours}, nil
}

// fork has a forker fork. Where one has ended since it was last asked, another is
// started: nothing was forked.
func (p *Pool) fork(ctx context.Context, request []byte, files []int) (pid int, err error) {
	for range p.size + 1 {
		f, err := p.take(ctx)
		if err != nil {
			return 0, err
		}
		pid, err = f.ask(request, files)
		if errors.Is(err, errGone) || errors.Is(err, errSilent) {
			f.end()
			f = nil
		}
		p.idle <- f
		if err == nil {
			return pid, nil
		}
		if !errors.Is(err, errGone) {
			return 0, fmt.Errorf("fork: %w", err)
		}
	}
	return 0, fmt.Errorf("fork: %w", errGone)
}

// request is struct request of c/wire.h, with the descriptors that go along.
func (o Order) request(conversation int) (b []byte, files []int) {
	files = []int{conversation}
	place := func(fd int) uint32 {
		if fd < 0 {
			return ^uint32(0)
		}
		files = append(files, fd)
		return uint32(len(files) - 1)
	}
	b = order.AppendUint64(nil, o.Namespaces)
	b = order.AppendUint32(b, place(o.Cgroup))
	b = order.AppendUint32(b, place(o.Pids))
	return b, files
}

// conversation makes a connection with a process that is not there yet.
func conversation() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil { // for Go's poller
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fds[0]), "conversation"), os.NewFile(uintptr(fds[1]), "conversation"), nil
}
