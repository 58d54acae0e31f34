package record

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
)

// CheckLabels refuses names that others use, and what containerd can't keep.
func CheckLabels(given map[string]string) error {
	for name, value := range given {
		if name == "" || strings.HasPrefix(name, "io.ctor.") || strings.HasPrefix(name, "containerd.io/") {
			return fmt.Errorf("label %q: the name is reserved: %w", name, errdefs.ErrInvalidArgument)
		}
		if !utf8.ValidString(name + value) {
			return fmt.Errorf("label %.32q: it is not UTF-8: %w", name, errdefs.ErrInvalidArgument)
		}
		if err := labels.Validate(name, value); err != nil {
			return fmt.Errorf("label %.32q: %w", name, err)
		}
	}
	return nil
}
