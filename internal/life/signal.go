package life

import (
	"fmt"
	"os"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/signal"
)

// ParseSignal reads "SIGTERM", "TERM", "15" or "SIGRTMIN+3".
func ParseSignal(s string) (syscall.Signal, error) {
	n, err := signal.ParseSignal(s)
	if err != nil || !isSignal(n) {
		return 0, fmt.Errorf("signal %q is not known: %w", s, errdefs.ErrInvalidArgument)
	}
	return n, nil
}

// Number is the number of a signal, if this system has it.
func Number(sig os.Signal) (syscall.Signal, error) {
	n, ok := sig.(syscall.Signal)
	if !ok || !isSignal(n) {
		return 0, fmt.Errorf("%v is no signal of this system: %w", sig, errdefs.ErrInvalidArgument)
	}
	return n, nil
}

func isSignal(n syscall.Signal) bool { return n >= 1 && n <= 64 }
