package spec

import (
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
)

// maxHostname is Linux's HOST_NAME_MAX.
const (
	maxHostname   = 64
	hostnameChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
)

// CheckHostname refuses what can't be a hostname.
func CheckHostname(name string) error {
	if len(name) > maxHostname || strings.Trim(name, hostnameChars) != "" {
		return fmt.Errorf("hostname %q: it must be at most %d letters, digits, '-', '.' and '_': %w", name, maxHostname, errdefs.ErrInvalidArgument)
	}
	return nil
}

// Hostname makes a hostname of a container's name.
func Hostname(name string) string { return name[:min(len(name), maxHostname)] }
