package stdio

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// Path names an open pipe for another process of this host, which may open the
// end that f is: while f is open. So a pipe needs no name in a file system, and
// a program that is killed leaves none there.
func Path(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }

// pipes are the ends of the runtime, until it has opened them.
type pipes struct {
	theirs []*os.File
	once   sync.Once
}

func (p *pipes) open(_ string, input bool) (io.ReadWriteCloser, string, error) {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, "", err
	}
	if input {
		ours, theirs = theirs, ours
	}
	p.theirs = append(p.theirs, theirs)
	return ours, Path(theirs), nil
}

func (p *pipes) given() {
	p.once.Do(func() {
		for _, f := range p.theirs {
			f.Close()
		}
	})
}

func (p *pipes) close() error {
	p.given()
	return nil
}
