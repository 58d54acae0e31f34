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
	CPUs   float64 // 0: all
	Memory int64   // bytes; 0: no limit
	Pids   int64   // 0: DefaultPids; -1: no limit
}

const (
	// DefaultPids is the number of processes and threads that a container may
	// have unless told otherwise: enough for a database, too few for a fork
	// bomb to hurt the host.
	DefaultPids = 4096

	// MinMemory is the least that starts: the runtime's own init is charged to
	// the container.
	MinMemory = 6 << 20

	cpuPeriod = 100_000 // microseconds, the kernel's default
)

func (l Limits) apply(r *specs.LinuxResources) error {
	switch {
	case l.CPUs < 0 || math.IsNaN(l.CPUs) || l.CPUs > 0 && l.CPUs < 0.01 || l.CPUs > 1e6:
		return fmt.Errorf("limit of %v CPUs: it must be 0.01 or more, or 0 for all: %w", l.CPUs, errdefs.ErrInvalidArgument)
	case l.Memory < 0 || l.Memory > 0 && l.Memory < MinMemory:
		return fmt.Errorf("memory limit of %d bytes: a container needs %d to start; 0 is no limit: %w", l.Memory, MinMemory, errdefs.ErrInvalidArgument)
	case l.Pids < -1:
		return fmt.Errorf("limit of %d processes: it must be positive, -1 for none, or 0 for %d: %w", l.Pids, DefaultPids, errdefs.ErrInvalidArgument)
	}
	if l.CPUs > 0 {
		quota, period := int64(math.Round(l.CPUs*cpuPeriod)), uint64(cpuPeriod)
		r.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period}
	}
	if l.Memory > 0 {
		r.Memory = &specs.LinuxMemory{Limit: &l.Memory}
		if swapCounted() {
			// Memory and swap together: what a container may not have in
			// memory, it may not have on the disk.
			r.Memory.Swap = &l.Memory
		}
	}
	if l.Pids == 0 {
		l.Pids = DefaultPids
	}
	r.Pids = &specs.LinuxPids{Limit: &l.Pids}
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
