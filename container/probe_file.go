package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// File holds when there is a file of any kind at a path in the container, as
// [Container.FS] sees it: links are followed, and nothing leads out of it. A
// relative path counts from the root. Nothing of the container is executed.
//
// A path that is none is ctor.ErrInvalid, and ends WaitReady at once.
func File(name string) Probe {
	return func(ctx context.Context, c *Container) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		at := strings.TrimPrefix(path.Join("/", name), "/")
		if at == "" {
			at = "."
		}
		if name == "" || !fs.ValidPath(at) || strings.ContainsRune(at, 0) {
			return &never{invalid("file: %.100q is no path", name)}
		}
		_, err := c.FS().Stat(at)
		if err == nil {
			return nil
		}
		var in *fs.PathError
		if errors.As(err, &in) {
			err = in.Err
		}
		return fmt.Errorf("file %s: %w", name, err)
	}
}
