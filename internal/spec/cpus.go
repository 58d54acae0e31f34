package spec

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
)

// everyCPU lists the CPUs that this host has on.
func everyCPU() string {
	b, _ := os.ReadFile("/sys/devices/system/cpu/online")
	return strings.TrimSpace(string(b))
}

// checkCPUs finds what is wrong with a list of CPUs, as cpuset(7) has it: "0-3,7".
func checkCPUs(list, online string) error {
	has, err := cpus(online)
	if err != nil {
		return err
	}
	wants, err := cpus(list)
	if err != nil {
		return fmt.Errorf("list of CPUs %q: %w", list, err)
	}
	for cpu := range wants {
		if !has[cpu] {
			return fmt.Errorf("list of CPUs %q: this host has %s: %w", list, online, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

func cpus(list string) (map[int]bool, error) {
	all := map[int]bool{}
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.ParseUint(from, 10, 16)
		last := first
		if err == nil && isRange {
			last, err = strconv.ParseUint(to, 10, 16)
		}
		if err != nil || last < first {
			return nil, fmt.Errorf("%q is no number and no range of numbers such as 0-3: %w", part, errdefs.ErrInvalidArgument)
		}
		for cpu := first; cpu <= last; cpu++ {
			all[int(cpu)] = true
		}
	}
	return all, nil
}
