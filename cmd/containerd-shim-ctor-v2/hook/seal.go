package hook

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runc/libcontainer/exeseal"
	"golang.org/x/sys/unix"
)

// Seal has this program go on in a sealed copy of its file in memory, with the
// same arguments, environment and descriptors. A container can't reach through
// /proc/self/exe for the file then, and libcontainer need not make a copy for
// each start to prevent that: a mount for each, and where the file was
// replaced, deleted, or lies above the state directory, a copy of its bytes
// (40 ms).
//
// It returns at once in the copy. In the original it returns only an error.
func Seal() error {
	if exeseal.IsSelfExeCloned() {
		return nil
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("seal program: %w", err)
	}
	defer self.Close()
	info, err := self.Stat()
	if err != nil {
		return fmt.Errorf("seal program: %w", err)
	}
	sealed, err := exeseal.CloneBinary(self, info.Size(), filepath.Base(os.Args[0]), os.TempDir())
	if err != nil {
		return fmt.Errorf("seal program: %w", err)
	}
	defer sealed.Close()
	if !exeseal.IsCloned(sealed) {
		return errors.New("seal program: this kernel has no sealed memory files")
	}
	path := fmt.Sprintf("/proc/self/fd/%d", sealed.Fd())
	return fmt.Errorf("seal program: %w", unix.Exec(path, os.Args, os.Environ()))
}
