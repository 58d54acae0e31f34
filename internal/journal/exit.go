package journal

import (
	"fmt"
	"syscall"
	"time"
)

// Exit is how a process has ended.
type Exit struct {
	Code      int       // 128+n where signal n ended it, or Unknown
	At        time.Time // zero: not known
	OOMKilled bool      // the kernel has killed a process of the container for want of memory

	DiskExceeded bool `json:",omitempty"` // its program has killed it, which had too much on the disk
}

// Unknown is the code of an end that was not seen. containerd's own word for it
// is 255, which is a code.
const Unknown = -1

// Signal is the signal that ended the process, as far as the code tells; else 0.
func (e Exit) Signal() syscall.Signal {
	if n := syscall.Signal(e.Code - 128); n >= 1 && n <= 64 {
		return n
	}
	return 0
}

// String puts the end in words.
func (e Exit) String() string {
	if e.Code < 0 {
		return "end not seen"
	}
	if sig := e.Signal(); sig != 0 {
		return fmt.Sprintf("exit code %d (%v)", e.Code, sig)
	}
	return fmt.Sprintf("exit code %d", e.Code)
}
