package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/errdefs"
)

// MakeSource makes the source where that is asked for. undo removes the directories
// that were made, unless something is in them by then.
func (m Mount) MakeSource() (undo func(), err error) {
	undo = func() {}
	if !m.CreateSource || !filepath.IsAbs(m.Source) || m.check() != nil {
		return undo, nil // which Spec says
	}
	var missing []string
	for dir := filepath.Clean(m.Source); ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			break // also where nothing can be looked at, as Spec will say
		}
		missing = append(missing, dir)
	}
	undo = func() {
		for _, dir := range missing {
			_ = os.Remove(dir)
		}
	}
	for _, dir := range slices.Backward(missing) {
		err = os.Mkdir(dir, 0o755)
		if err == nil {
			err = os.Chmod(dir, 0o755) // whatever the program's umask is
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			undo()
			return nil, fmt.Errorf("mount on %q: source: %w: %w", m.Target, err, errdefs.ErrInvalidArgument)
		}
	}
	return undo, nil
}
