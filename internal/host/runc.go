package host

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/containerd/errdefs"
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
	return nil
}
