package spec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Fixed is what bounds a container from its making on, and can't be changed later.
type Fixed struct {
	Rlimits  []specs.POSIXRlimit
	Shm      int64 // bytes; 0: containerd's default, 64 MiB
	OOMScore int
	Devices  []Device
}

func (f Fixed) apply(s *specs.Spec) error {
	if f.OOMScore < -1000 || f.OOMScore > 1000 {
		return fmt.Errorf("OOM score %d: it must be from -1000 to 1000: %w", f.OOMScore, errdefs.ErrInvalidArgument)
	}
	if f.OOMScore != 0 {
		s.Process.OOMScoreAdj = &f.OOMScore
	}
	s.Process.Rlimits = f.Rlimits // what is not named is the program's own: what it may, its containers may
	if f.Shm < 0 {
		return fmt.Errorf("/dev/shm of %d bytes: it must be positive, or 0 for 64 MiB: %w", f.Shm, errdefs.ErrInvalidArgument)
	}
	for i := range s.Mounts {
		if m := &s.Mounts[i]; f.Shm > 0 && m.Destination == "/dev/shm" {
			m.Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return strings.HasPrefix(o, "size=") })
			m.Options = append(m.Options, fmt.Sprintf("size=%d", f.Shm))
		}
	}
	for _, d := range f.Devices {
		s.Linux.Devices = append(s.Linux.Devices, d.LinuxDevice)
		s.Linux.Resources.Devices = append(s.Linux.Resources.Devices,
			specs.LinuxDeviceCgroup{Allow: true, Type: d.Type, Major: &d.Major, Minor: &d.Minor, Access: d.Access})
	}
	return nil
}

// In tells whether a configuration has what is set here.
func (f Fixed) In(s *specs.Spec) bool {
	if s.Process == nil || f.OOMScore != 0 && (s.Process.OOMScoreAdj == nil || *s.Process.OOMScoreAdj != f.OOMScore) {
		return false
	}
	for _, r := range f.Rlimits {
		if !slices.Contains(s.Process.Rlimits, r) {
			return false
		}
	}
	for _, d := range f.Devices {
		if !slices.ContainsFunc(s.Linux.Devices, func(o specs.LinuxDevice) bool { return o.Path == d.Path && o.Major == d.Major && o.Minor == d.Minor }) {
			return false
		}
	}
	return f.Shm == 0 || slices.ContainsFunc(s.Mounts, func(m specs.Mount) bool {
		return m.Destination == "/dev/shm" && slices.Contains(m.Options, fmt.Sprintf("size=%d", f.Shm))
	})
}
