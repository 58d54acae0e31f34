package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
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
	settle, err := makeRoom(path, made.Memory)
	if err != nil {
		return err
	}
	defer settle()
	if unified() {
		if err := endRates(path, r.BlockIO); err != nil {
			return err
		}
		withoutZero(made)
	}
	return set(path, made)
}

// makeRoom has the kernel let go of what it can do without, such as the contents of
// files, until a limit of memory leaves the processes what they have. Where it can't,
// that is errdefs.ErrInvalidArgument, and the limit is what it was: version 2 would kill.
// settle is called when the limit is set.
func makeRoom(path string, limit int64) (settle func(), err error) {
	settle = func() {}
	usage, lower := "memory.usage_in_bytes", "memory.limit_in_bytes"
	if unified() {
		usage, lower = "memory.current", "memory.high"
	}
	dir := At(path).Dir("memory")
	used, err := os.ReadFile(filepath.Join(dir, usage))
	if err != nil || limit <= 0 || number(used) <= limit {
		return settle, nil // an error: to set the limit will say so
	}
	before, err := os.ReadFile(filepath.Join(dir, lower))
	if err != nil {
		return settle, err
	}
	// With version 1 that is the limit itself, which the kernel refuses if there is no
	// room. With version 2 it is one that is not kept to at any price.
	err = os.WriteFile(filepath.Join(dir, lower), strconv.AppendInt(nil, limit, 10), 0)
	if unified() {
		settle = func() { write(dir, lower, string(before)) }
		used, _ = os.ReadFile(filepath.Join(dir, usage))
		if err == nil && number(used) > limit {
			err = unix.EBUSY
		}
	}
	if err == nil {
		return settle, nil
	}
	settle()
	if errors.Is(err, unix.EBUSY) {
		used, _ = os.ReadFile(filepath.Join(dir, usage))
		return nil, fmt.Errorf("memory limit of %d bytes: the container uses %d: %w", limit, number(used), errdefs.ErrInvalidArgument)
	}
	return nil, err
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
