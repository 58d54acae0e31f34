package rootfs

import (
	"os"
	"strings"
)

// Mapped tells whether this program runs in a user namespace that is not the
// host's.
func Mapped() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(b)), " ") != "0 0 4294967295"
}
