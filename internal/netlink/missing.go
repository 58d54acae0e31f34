package netlink

import (
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Missing says which of its modules the kernel lacks, if that is why it refused a
// request: the error is errdefs.ErrUnavailable then, and any other is err itself.
func Missing(err error, modules ...string) error {
	for _, lacks := range []error{unix.ENOENT, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT} {
		if errors.Is(err, lacks) {
			return fmt.Errorf("the kernel lacks %s: %w: %w; load it: modprobe %s", strings.Join(modules, " or "), err, errdefs.ErrUnavailable, strings.Join(modules, " && modprobe "))
		}
	}
	return err
}
