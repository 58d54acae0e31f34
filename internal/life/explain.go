package life

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
)

// misplaced is what a runtime says where the image has something else in the place
// of a directory: of its working directory, or of what is mounted on.
var misplaced = []string{
	"not a directory", "is a directory", "must be mounted on ordinary directory",
	"too many levels of symbolic links", "file name too long", "file exists",
	"container init: mkdir /", // a working directory in /proc or /sys
}

// Explain gives the runtime's complaints a class and fewer words. It knows the
// words of runc 1.1 to 1.5 and crun 1.8; others are errdefs.ErrUnavailable, in full.
func Explain(err error) error {
	if err = errgrpc.ToNative(err); err == nil {
		return nil
	}
	if errdefs.IsResourceExhausted(err) {
		return fmt.Errorf("its arguments, environment and the rest of its configuration are more than a shim can be told: %w: %v", errdefs.ErrInvalidArgument, err)
	}
	_, text, ok := strings.Cut(err.Error(), "OCI runtime create failed: ")
	if !ok {
		return err
	}
	small := strings.ToLower(text) // crun has the C library's words
	has := func(s string) bool { return strings.Contains(small, s) }
	var class error = errdefs.ErrUnavailable
	switch {
	case errdefs.IsInvalidArgument(err): // our own executor says so
		class = errdefs.ErrInvalidArgument
	case has("exec: ") && (has("executable file not found") || has("no such file or directory")),
		has("executable file `") && has("not found"):
		class = errdefs.ErrNotFound
	case has("exec: ") && (has("exec format error") || has("permission denied") || has("is a directory") || has("operation not permitted")),
		!has("cgroup") && slices.ContainsFunc(misplaced, has):
		class = errdefs.ErrInvalidArgument
	}
	if i := strings.Index(text, "exec: "); i >= 0 {
		return fmt.Errorf("%s: %w", strings.TrimSuffix(strings.TrimSpace(text[i:]), ": unknown"), class)
	}
	return errors.Join(err, class)
}
