package host

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// CheckRunc says what is missing to run containers.
func CheckRunc() error {
	if _, err := exec.LookPath("runc"); err != nil {
		return fmt.Errorf("no runc on PATH to run containers with (%w): apt-get install runc", errdefs.ErrUnavailable)
	}
	return nil
}

// CheckRoot says what is missing to open an engine.
func CheckRoot() error {
	if uid := os.Geteuid(); uid != 0 {
		return fmt.Errorf("an engine in this process needs root, and this is user %d (%w): run the program with sudo", uid, errdefs.ErrUnavailable)
	}
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return fmt.Errorf("read this process's capabilities: %w (%w): mount -t proc proc /proc", err, errdefs.ErrUnavailable)
	}
	if !mayMount(status) {
		return fmt.Errorf("this root may not mount, it lacks CAP_SYS_ADMIN (%w): if this is a container, start it with --privileged", errdefs.ErrUnavailable)
	}
	return nil
}

// mayMount reads the effective capabilities from a status, proc_pid_status(5).
// What can't be read is left to the kernel.
func mayMount(status []byte) bool {
	for line := range bytes.Lines(status) {
		if mask, ok := bytes.CutPrefix(line, []byte("CapEff:")); ok {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(mask)), 16, 64)
			return err != nil || n&(1<<unix.CAP_SYS_ADMIN) != 0
		}
	}
	return true
}
