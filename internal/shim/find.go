package shim

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/reexec"
	"github.com/ctorhq/ctor/internal/shim/link"
)

// Self is the path of this very program.
const Self = reexec.Self

// Find gives the shim to execute: the one named, else the installed one,
// beside the program or on PATH, else the program itself.
func Find(named string) (string, error) {
	if named != "" {
		path, err := exec.LookPath(named)
		if err != nil {
			return "", fmt.Errorf("shim %s: %w (%w): %s", named, err, errdefs.ErrUnavailable, Install())
		}
		if isSelf(path) {
			return Self, nil
		}
		return filepath.Abs(path)
	}
	if program, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(program), link.Name)
		if st, err := os.Stat(beside); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return beside, nil
		}
	}
	// A match in the working directory is an error to LookPath, and none here.
	if path, err := exec.LookPath(link.Name); err == nil {
		return filepath.Abs(path)
	}
	return Self, nil
}

// isSelf tells whether a path is this very program's, which is a shim by
// another way than an installed one.
func isSelf(path string) bool {
	named, err := os.Stat(path)
	if err != nil {
		return false
	}
	own, err := os.Stat(Self)
	return err == nil && os.SameFile(named, own)
}
