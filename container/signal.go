package container

import (
	"syscall"

	"github.com/moby/sys/signal"
)

// parseSignal reads "SIGTERM", "TERM", "15" or "SIGRTMIN+3".
func parseSignal(s string) (syscall.Signal, error) {
	n, err := signal.ParseSignal(s)
	if err != nil || n < 1 || n > 64 {
		return 0, invalid("signal %q is not known", s)
	}
	return n, nil
}
