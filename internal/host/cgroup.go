package host

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// CgroupParent is the cgroup, in every hierarchy, under which an engine keeps
// those of its containers. It differs from engine to engine: two may have
// containers of one name.
func CgroupParent(root, namespace string) string {
	h := sha256.Sum256([]byte(root + "\x00" + namespace))
	return "/ctor-" + hex.EncodeToString(h[:6])
}

// RemoveCgroup removes a parent, with what is left under it, from every
// hierarchy. Cgroups that hold a process stay, and are an error.
func RemoveCgroup(parent string) error {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var errs []error
	for _, h := range hierarchies(info) {
		errs = append(errs, removeTree(filepath.Join(h, parent)))
	}
	return errors.Join(errs...)
}

// removeTree removes cgroups, the deepest first: their files can't be removed.
func removeTree(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	errs := []error{err}
	for _, d := range slices.Backward(dirs) {
		if err := unix.Rmdir(d); err != nil && err != unix.ENOENT {
			errs = append(errs, &fs.PathError{Op: "rmdir", Path: d, Err: err})
		}
	}
	return errors.Join(errs...)
}

// hierarchies finds the cgroup mounts in a mountinfo, proc_pid_mountinfo(5).
func hierarchies(mountinfo []byte) []string {
	var found []string
	for s := bufio.NewScanner(bytes.NewReader(mountinfo)); s.Scan(); {
		before, after, ok := strings.Cut(s.Text(), " - ")
		f := strings.Fields(before)
		if !ok || len(f) < 5 {
			continue
		}
		if t, _, _ := strings.Cut(after, " "); t == "cgroup" || t == "cgroup2" {
			found = append(found, f[4])
		}
	}
	return found
}
