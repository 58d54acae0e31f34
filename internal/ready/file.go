package ready

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// File looks whether there is a file of any kind at a path of a file system. A relative
// one counts from the root.
func File(ctx context.Context, files fs.StatFS, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	at := strings.TrimPrefix(path.Join("/", name), "/")
	if at == "" {
		at = "."
	}
	if name == "" || !fs.ValidPath(at) || strings.ContainsRune(at, 0) {
		return invalid("file: %.100q is no path", name)
	}
	_, err := files.Stat(at)
	if err == nil {
		return nil
	}
	var in *fs.PathError
	if errors.As(err, &in) {
		err = in.Err
	}
	return fmt.Errorf("file %s: %w", name, err)
}
