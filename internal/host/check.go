package host

import (
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/pkg/cap"
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
		return "", fmt.Errorf("no runc or crun on PATH to run containers with (%w): %s", errdefs.ErrUnavailable, Provide("runc"))
	}
	if survey().Cgroup == Hybrid {
		return "", fmt.Errorf("crun does not work on a host with hybrid cgroups, and there is no runc on PATH (%w): %s", errdefs.ErrUnavailable, Provide("runc"))
	}
	return "crun", nil
}

// usualPath is where a distribution has its commands.
const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Provide is the shell command by which a program that is not on PATH comes to
// be there: it may be installed, and PATH without its directory, or empty.
func Provide(program string) string {
	for dir := range strings.SplitSeq(usualPath, ":") {
		if st, err := os.Stat(filepath.Join(dir, program)); err != nil || !st.Mode().IsRegular() || st.Mode()&0o111 == 0 {
			continue
		}
		if os.Getenv("PATH") == "" {
			return "export PATH=" + usualPath
		}
		return "export PATH=$PATH:" + dir
	}
	return "apt-get install " + program
}

// CheckRoot says what is missing to open an engine.
func CheckRoot() error {
	if uid := os.Geteuid(); uid != 0 {
		return needsRoot(os.DirFS("/"), uid)
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

// needsRoot tells a user how to have an engine.
func needsRoot(root fs.FS, uid int) error {
	const needs = "an engine in this process needs root, and this is user"
	if why := forbidsUserNS(root, uid); why != "" {
		what, command, _ := strings.Cut(why, ": ")
		return fmt.Errorf("%s %d, who could be root in a user namespace, but %s (%w): run the program with sudo, or %s, and run it with ctor-userns",
			needs, uid, what, errdefs.ErrUnavailable, command)
	}
	return fmt.Errorf("%s %d (%w): run the program with sudo, or as root of a user namespace: "+
		"go install github.com/ctorhq/ctor/cmd/ctor-userns@latest && ctor-userns PROGRAM", needs, uid, errdefs.ErrUnavailable)
}

// mayMount reads the effective capabilities from a status.
func mayMount(status []byte) bool { return caps(status, "CapEff")&(1<<unix.CAP_SYS_ADMIN) != 0 }

// caps reads a set of capabilities from a status, proc_pid_status(5). What can't
// be read is left to the kernel.
func caps(status []byte, set string) uint64 {
	for line := range bytes.Lines(status) {
		if mask, ok := bytes.CutPrefix(line, []byte(set+":")); ok {
			if n, err := strconv.ParseUint(string(bytes.TrimSpace(mask)), 16, 64); err == nil {
				return n
			}
		}
	}
	return math.MaxUint64
}

// CheckCaps says which of the capabilities that a container is to have this
// process can't hand on. A service may be bounded, and so may a container that
// runs containers.
func CheckCaps(names []string) error { return checkCaps(bounding(), names) }

// bounding are the capabilities that this process's children can have at most.
var bounding = sync.OnceValue(func() uint64 {
	status, _ := os.ReadFile("/proc/thread-self/status")
	return caps(status, "CapBnd")
})

func checkCaps(bounding uint64, names []string) error {
	lacks, _ := cap.FromBitmap(^bounding)
	lacks = slices.DeleteFunc(lacks, func(name string) bool { return !slices.Contains(names, name) })
	if len(lacks) == 0 {
		return nil
	}
	return fmt.Errorf("this root can't give a container %s, which it may not have itself (%w): "+
		"if this is a container, start it with --privileged, if a service, take CapabilityBoundingSet out of its unit",
		strings.Join(lacks, ", "), errdefs.ErrUnavailable)
}
