package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sweep removes what peers have left after their own clean-up: processes,
// cgroups, mounts, files. All carry the bench's name, which no other run has.
func (b *bench) sweep() error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		pids := b.leftovers()
		if len(pids) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v do not end", pids)
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended meanwhile
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.Join(b.removeCgroups(), unmount(b.dir), os.RemoveAll(b.dir))
}

// leftovers are the live processes of peers: those in their cgroups, and
// those that were started with a path below the bench's directory.
func (b *bench) leftovers() []int {
	var pids []int
	for _, pid := range processes() {
		if pid == os.Getpid() {
			continue
		}
		cgroup, _ := os.ReadFile(procFile(pid, "cgroup"))
		cwd, _ := os.Readlink(procFile(pid, "cwd"))
		if strings.Contains(string(cgroup), "/"+b.name+"/") || strings.Contains(cmdline(pid), b.dir) || strings.HasPrefix(cwd, b.dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (b *bench) removeCgroups() error {
	var errs []error
	for _, pattern := range []string{"/sys/fs/cgroup/" + b.name, "/sys/fs/cgroup/*/" + b.name} {
		tops, _ := filepath.Glob(pattern)
		for _, top := range tops {
			errs = append(errs, removeCgroup(top))
		}
	}
	return errors.Join(errs...)
}

// removeCgroup removes a cgroup and those below it. The kernel takes a moment
// to let go of one whose last process has just ended.
func removeCgroup(top string) error {
	var dirs []string
	_ = filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, dir := range slices.Backward(dirs) {
		var err error
		for range 100 {
			if err = syscall.Rmdir(dir); !errors.Is(err, syscall.EBUSY) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove cgroup %s: %w", dir, err)
		}
	}
	return nil
}

// unmount removes the mounts that are left below the bench's directory. They
// go with the mount namespace too, but then the directory could not.
func unmount(dir string) error {
	for range 10 {
		mounts, err := mountsBelow(dir)
		if err != nil || len(mounts) == 0 {
			return err
		}
		for _, m := range slices.Backward(mounts) {
			_ = syscall.Unmount(m, syscall.MNT_DETACH) // it may have gone with another
		}
	}
	return fmt.Errorf("mounts below %s can't be removed", dir)
}

func mountsBelow(dir string) ([]string, error) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var mounts []string
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir) {
			mounts = append(mounts, f[4])
		}
	}
	return mounts, nil
}

// processes are the live processes of this host. Zombies wait for their
// parent and hold nothing.
func processes() []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && cmdline(pid) != "" {
			pids = append(pids, pid)
		}
	}
	return pids
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// cmdline is a process's command, its words parted by blanks.
func cmdline(pid int) string {
	b, _ := os.ReadFile(procFile(pid, "cmdline"))
	return strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
}
