package spec

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/host"
)

// Device is a device of the host's, and what a container may do with it.
type Device struct {
	specs.LinuxDevice
	Access string // of "rwm"
}

// wanted is a device as a caller wants it: a Target of "" is the Source, and an Access
// of "" is all.
type wanted = struct{ Source, Target, Access string }

// Devices looks up devices of the host's by their paths.
func Devices[D ~wanted](list []D) (found []Device, err error) {
	for _, d := range list {
		f, err := device(wanted(d))
		if err != nil {
			return nil, fmt.Errorf("device %q: %w", wanted(d).Source, err)
		}
		found = append(found, f)
	}
	return found, nil
}

func device(w wanted) (d Device, err error) {
	if w.Target == "" {
		w.Target = w.Source
	}
	if w.Access == "" {
		w.Access = "rwm"
	}
	for _, path := range []string{w.Source, w.Target} {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.ContainsRune(path, 0) {
			return d, fmt.Errorf("path %q: it must be absolute and without dots: %w", path, errdefs.ErrInvalidArgument)
		}
	}
	if strings.Trim(w.Access, "rwm") != "" {
		return d, fmt.Errorf("access %q: it must be of r, w and m: %w", w.Access, errdefs.ErrInvalidArgument)
	}
	if d.LinuxDevice, err = host.Device(w.Source); err != nil {
		return d, err
	}
	d.Path, d.Access = w.Target, w.Access
	return d, nil
}
