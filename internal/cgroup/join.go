package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
)

// Join moves this process into a cgroup, in each Root that has it. It is an
// error if none has.
func Join(path string) error {
	hierarchies := []string{""}
	if !unified() {
		mounts, err := os.ReadDir(Root)
		if err != nil {
			return err
		}
		hierarchies = nil
		for _, m := range mounts {
			if m.IsDir() { // a link is a second name of a hierarchy
				hierarchies = append(hierarchies, m.Name())
			}
		}
	}
	joined := false
	for _, h := range hierarchies {
		err := os.WriteFile(filepath.Join(Root, h, filepath.Join("/", path), "cgroup.procs"), []byte("0"), 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		joined = true
	}
	if !joined {
		return fmt.Errorf("%s: %w", path, errdefs.ErrNotFound)
	}
	return nil
}
