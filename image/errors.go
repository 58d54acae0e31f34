package image

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/engine"
)

// wrap names the operation and the image.
func wrap(err *error, op, ref string) {
	if *err == nil {
		return
	}
	if ref != "" {
		op = fmt.Sprintf("%s %.300q", op, ref)
	}
	*err = fmt.Errorf("%s: %w", op, *err)
}

// classes are those of errors whose cause is known.
var classes = []error{
	context.Canceled, context.DeadlineExceeded, engine.ErrClosed,
	errdefs.ErrInvalidArgument, errdefs.ErrUnavailable, errdefs.ErrNotFound,
	errdefs.ErrUnauthenticated, errdefs.ErrPermissionDenied,
}

// hostFaults are what the host may be short of. The differ passes errors on as
// text.
var hostFaults = []error{unix.ENOSPC, unix.EDQUOT, unix.EIO, unix.EROFS, unix.ENOMEM, unix.EMFILE, unix.ENFILE}

// blame gives an error of reading a stranger's content its class: where the
// cause is neither known nor the host's, the content is not what it must be.
func blame(err error) error {
	if err == nil {
		return nil
	}
	for _, class := range classes {
		if errors.Is(err, class) {
			return err
		}
	}
	for _, fault := range hostFaults {
		if strings.Contains(err.Error(), fault.Error()) {
			return fmt.Errorf("%w: %w", err, errdefs.ErrUnavailable)
		}
	}
	return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
}
