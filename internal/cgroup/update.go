package cgroup

import (
	"fmt"
	"path/filepath"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Update changes the limits of a cgroup that holds processes. A rate of 0 is no rate
// any more. Devices are no limits: they stay.
func Update(path string, r *specs.LinuxResources) error {
	if path == "" {
		return Absent()
	}
	made, err := resources(r)
	if err != nil {
		return err
	}
	made.SkipDevices = true
	if err := fits(path, made.Memory); err != nil {
		return err
	}
	if unified() {
		if err := endRates(path, r.BlockIO); err != nil {
			return err
		}
		withoutZero(made)
	}
	return set(path, made)
}

// fits tells whether a limit of memory leaves the processes what they have. Version
// 1 would refuse it if not, and version 2 kill.
func fits(path string, limit int64) error {
	if limit <= 0 {
		return nil
	}
	now, err := At(path).Count()
	if err == nil && now.Memory > limit {
		return fmt.Errorf("memory limit of %d bytes: the container uses %d: %w", limit, now.Memory, errdefs.ErrInvalidArgument)
	}
	return nil // a cgroup that is gone: to set the limit will say so
}

// rates are those of a disk, by what version 2 calls them.
func rates(b *specs.LinuxBlockIO) map[string][]specs.LinuxThrottleDevice {
	return map[string][]specs.LinuxThrottleDevice{
		"rbps": b.ThrottleReadBpsDevice, "wbps": b.ThrottleWriteBpsDevice,
		"riops": b.ThrottleReadIOPSDevice, "wiops": b.ThrottleWriteIOPSDevice,
	}
}

// endRates takes away the rates of 0, which version 2 knows by a word.
func endRates(path string, b *specs.LinuxBlockIO) error {
	if b == nil {
		return nil
	}
	for name, list := range rates(b) {
		for _, d := range list {
			if d.Rate > 0 {
				continue
			}
			if err := cgroups.WriteFile(filepath.Join(Root, path), "io.max", fmt.Sprintf("%d:%d %s=max", d.Major, d.Minor, name)); err != nil {
				return fmt.Errorf("limits of cgroup %s: %w", path, err)
			}
		}
	}
	return nil
}

func withoutZero(r *cgroups.Resources) {
	for _, list := range []*[]*cgroups.ThrottleDevice{
		&r.BlkioThrottleReadBpsDevice, &r.BlkioThrottleWriteBpsDevice, &r.BlkioThrottleReadIOPSDevice, &r.BlkioThrottleWriteIOPSDevice,
	} {
		var some []*cgroups.ThrottleDevice
		for _, d := range *list {
			if d.Rate > 0 {
				some = append(some, d)
			}
		}
		*list = some
	}
}
