package spec

import (
	"fmt"
	"maps"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/host"
)

// rate is what may go from and to a disk in a second; 0 is no limit.
type rate = struct {
	ReadBytes, WriteBytes uint64
	Reads, Writes         uint64
}

// BlockIO bounds what goes from and to block devices: weight is from 10 to 1000, or 0
// for the kernel's default, and rates are by the paths of disks. nil is no bound.
func BlockIO[R ~rate](weight uint16, rates map[string]R) (*specs.LinuxBlockIO, error) {
	if weight == 0 && len(rates) == 0 {
		return nil, nil
	}
	b := &specs.LinuxBlockIO{}
	if weight != 0 {
		if weight < 10 || weight > 1000 {
			return nil, fmt.Errorf("I/O weight %d: it must be from 10 to 1000: %w", weight, errdefs.ErrInvalidArgument)
		}
		b.Weight = &weight
	}
	for _, path := range slices.Sorted(maps.Keys(rates)) {
		major, minor, err := host.Disk(path)
		if err != nil {
			return nil, fmt.Errorf("I/O rate of %q: %w", path, err)
		}
		r := rate(rates[path])
		for _, one := range []struct {
			rate uint64
			list *[]specs.LinuxThrottleDevice
		}{
			{r.ReadBytes, &b.ThrottleReadBpsDevice}, {r.WriteBytes, &b.ThrottleWriteBpsDevice},
			{r.Reads, &b.ThrottleReadIOPSDevice}, {r.Writes, &b.ThrottleWriteIOPSDevice},
		} {
			if one.rate > 0 {
				d := specs.LinuxThrottleDevice{Rate: one.rate}
				d.Major, d.Minor = major, minor
				*one.list = append(*one.list, d)
			}
		}
	}
	return b, nil
}
