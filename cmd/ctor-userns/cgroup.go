package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/userns"
)

// mounted is where a host with cgroup v2 alone has its one hierarchy.
const mounted = "/sys/fs/cgroup"

// leaf is the cgroup that this program's processes leave their own one for: cgroup v2
// bounds only what is in cgroups that are not divided.
const leaf = "program"

// delegated is the directory of the cgroup that this process is in, if it is the
// caller's to divide; else "". Root may divide any, but the service manager has made it.
func delegated() string {
	if caller() == 0 {
		return ""
	}
	var st unix.Statfs_t
	if err := unix.Statfs(mounted, &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		return ""
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	_, path, ok := strings.Cut("\n"+string(own), "\n0::") // the line of version 2, cgroups(7)
	if err != nil || !ok {
		return ""
	}
	path, _, _ = strings.Cut(path, "\n")
	dir := filepath.Join(mounted, path)
	for _, name := range []string{"", "cgroup.procs", "cgroup.subtree_control"} {
		if unix.Access(filepath.Join(dir, name), unix.W_OK) != nil {
			return ""
		}
	}
	return dir
}

// caller is the user who calls, by the number outside.
func caller() uint32 {
	if own := userns.Own(); os.Geteuid() == 0 && len(own.Users) > 0 {
		return own.Users[0].Outside
	}
	return uint32(os.Geteuid())
}

// leave moves this process to the leaf of its cgroup, if that may be divided.
func leave() error {
	dir := delegated()
	if dir == "" {
		return nil
	}
	return move(filepath.Join(dir, leaf))
}

func move(to string) error {
	if err := os.Mkdir(to, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.WriteFile(filepath.Join(to, "cgroup.procs"), []byte("0"), 0)
}

// divide makes the cgroup that this process is in the root of those that it sees, if it
// may be divided, and leaves it.
func divide() error {
	dir := delegated()
	if dir == "" {
		return nil
	}
	// The namespace's root is the cgroup that the thread is in now.
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("cgroup namespace: %w", err)
	}
	if err := move(filepath.Join(dir, leaf)); err != nil {
		return err
	}
	// A new mount would show the same, and the kernel mounts no file system on itself.
	if err := unix.Mount(dir, mounted, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("show cgroup %s as %s: %w", dir, mounted, err)
	}
	return nil
}
