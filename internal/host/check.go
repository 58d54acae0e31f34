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

// Runtime names the command that runs containers where there is no shim with
// libcontainer inside: runc, else crun.
func Runtime() (string, error) { return runtime(Survey) }

func runtime(survey func() Facts) (string, error) {
	if _, err := exec.LookPath("runc"); err == nil {
		return "runc", nil
	}
	if _, err := exec.LookPath("crun"); err != nil {
		return "", fmt.Errorf("no runc or crun on PATH to run containers with (%w): apt-get install runc", errdefs.ErrUnavailable)
	}
	if survey().Cgroup == Hybrid {
		return "", fmt.Errorf("crun does not work on a host with hybrid cgroups, and there is no runc on PATH (%w): apt-get install runc", errdefs.ErrUnavailable)
	}
	return "crun", nil
}

// CheckRoot says what is missing to open an engine.
func CheckRoot() error {
	if uid := os.Geteuid(); uid != 0 {
		return fmt.Errorf("an engine in this process needs root, and this is user %d (%w): run the program with sudo", uid, errdefs.ErrUnavailable)
	}
	if uid, gid := os.Getuid(), os.Getgid(); uid != 0 || gid != os.Getegid() {
		return fmt.Errorf("this program is root's by its set-uid or set-gid bit, and was started by user %d: its shim, the program executed again, would do anything for that user (%w): "+
			"take the bit away and start it with sudo", uid, errdefs.ErrUnavailable)
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
