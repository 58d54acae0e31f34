package spec

import (
	"bytes"
	"fmt"
	"math"
	"os"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Limits bound what a container may use. Zero values are the defaults.
type Limits struct {
	CPUs      float64 // 0: all
	CPUSet    string  // as cpuset(7) lists CPUs; "": all
	CPUShares uint64  // 0: DefaultShares
	Memory    int64   // bytes; 0: no limit
	Swap      int64   // bytes beyond Memory; 0: none; -1: no limit
	Pids      int64   // 0: DefaultPids; -1: no limit
	IO        *specs.LinuxBlockIO
}

const (
	// DefaultPids is the number of processes and threads that a container may
	// have unless told otherwise: enough for a database, too few for a fork
	// bomb to hurt the host.
	DefaultPids = 4096

	// MinMemory is the least that starts: the runtime's own init is charged to
	// the container.
	MinMemory = 6 << 20

	// DefaultShares are the kernel's.
	DefaultShares = 1024

	cpuPeriod = 100_000 // microseconds, the kernel's default
)

func (l Limits) check() error {
	switch {
	case l.CPUs < 0 || math.IsNaN(l.CPUs) || l.CPUs > 0 && l.CPUs < 0.01 || l.CPUs > 1e6:
		return fmt.Errorf("limit of %v CPUs: it must be 0.01 or more, or 0 for all: %w", l.CPUs, errdefs.ErrInvalidArgument)
	case l.CPUShares != 0 && (l.CPUShares < 2 || l.CPUShares > 1<<18):
		return fmt.Errorf("%d CPU shares: there must be 2 to %d, or 0 for %d: %w", l.CPUShares, 1<<18, DefaultShares, errdefs.ErrInvalidArgument)
	case l.Memory < 0 || l.Memory > 0 && l.Memory < MinMemory:
		return fmt.Errorf("memory limit of %d bytes: a container needs %d to start; 0 is no limit: %w", l.Memory, MinMemory, errdefs.ErrInvalidArgument)
	case l.Swap < -1 || l.Swap > math.MaxInt64-l.Memory:
		return fmt.Errorf("limit of %d bytes of swap: it must be positive, -1 for none, or 0 for no swap: %w", l.Swap, errdefs.ErrInvalidArgument)
	case l.Swap != 0 && l.Memory == 0:
		return fmt.Errorf("a limit of swap without one of memory: %w", errdefs.ErrInvalidArgument)
	case l.Swap > 0 && !swapCounted():
		return fmt.Errorf("limit of %d bytes of swap: this host does not count it (%w): boot it with swapaccount=1, and swapon some", l.Swap, errdefs.ErrUnavailable)
	case l.Pids < -1:
		return fmt.Errorf("limit of %d processes: it must be positive, -1 for none, or 0 for %d: %w", l.Pids, DefaultPids, errdefs.ErrInvalidArgument)
	}
	if l.CPUSet != "" {
		return checkCPUs(l.CPUSet, everyCPU())
	}
	return nil
}

func (l Limits) apply(r *specs.LinuxResources) error {
	if err := l.check(); err != nil {
		return err
	}
	if l.CPUs > 0 || l.CPUSet != "" || l.CPUShares > 0 {
		r.CPU = &specs.LinuxCPU{Cpus: l.CPUSet}
	}
	if l.CPUs > 0 {
		quota, period := int64(math.Round(l.CPUs*cpuPeriod)), uint64(cpuPeriod)
		r.CPU.Quota, r.CPU.Period = &quota, &period
	}
	if l.CPUShares > 0 {
		r.CPU.Shares = &l.CPUShares
	}
	if l.Memory > 0 {
		r.Memory = &specs.LinuxMemory{Limit: &l.Memory}
		if swapCounted() {
			// Memory and swap together.
			both := l.Memory + l.Swap
			if l.Swap < 0 {
				both = -1
			}
			r.Memory.Swap = &both
		}
	}
	if l.Pids == 0 {
		l.Pids = DefaultPids
	}
	r.Pids = &specs.LinuxPids{Limit: &l.Pids}
	r.BlockIO = l.IO
	return nil
}

// swapCounted tells whether this host can limit swap. Where it has none, there
// is nothing to limit, and perhaps no file to say so.
func swapCounted() bool {
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"); err == nil {
		return true // cgroup v1
	}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		return false
	}
	b, err := os.ReadFile("/proc/swaps")
	return err == nil && bytes.Count(b, []byte("\n")) > 1 // the first line is a heading
}
