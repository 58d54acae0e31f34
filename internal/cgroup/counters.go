package cgroup

import (
	"fmt"
	"time"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/errdefs"
)

// Counters are what a cgroup of either version tells, as the public Stats has it.
type Counters struct {
	Time                                   time.Time
	CPU, CPUUser, CPUSystem, CPUThrottled  time.Duration
	Memory, MemoryPeak, MemoryLimit        int64
	Pids, PidsLimit                        int64
	ReadBytes, WrittenBytes, Reads, Writes int64
}

// Count reads containerd's types, which Stats gives.
func Count(at time.Time, metrics any) (Counters, error) {
	c := Counters{Time: at}
	switch m := metrics.(type) {
	case *v1.Metrics:
		c.version1(m)
	case *v2.Metrics:
		c.version2(m)
	default:
		return Counters{}, fmt.Errorf("counters of type %T: %w", metrics, errdefs.ErrNotImplemented)
	}
	return c, nil
}

func (c *Counters) version1(m *v1.Metrics) {
	cpu, memory := m.GetCPU(), m.GetMemory()
	c.CPU = time.Duration(cpu.GetUsage().GetTotal())
	c.CPUUser = time.Duration(cpu.GetUsage().GetUser())
	c.CPUSystem = time.Duration(cpu.GetUsage().GetKernel())
	c.CPUThrottled = time.Duration(cpu.GetThrottling().GetThrottledTime())
	usage := memory.GetUsage()
	c.Memory = less(usage.GetUsage(), memory.GetTotalInactiveFile())
	c.MemoryPeak, c.MemoryLimit = int64(usage.GetMax()), limit(usage.GetLimit())
	c.Pids, c.PidsLimit = int64(m.GetPids().GetCurrent()), limit(m.GetPids().GetLimit())
	c.ReadBytes, c.WrittenBytes = sum(m.GetBlkio().GetIoServiceBytesRecursive())
	c.Reads, c.Writes = sum(m.GetBlkio().GetIoServicedRecursive())
}

// sum adds up the devices.
func sum(entries []*v1.BlkIOEntry) (read, written int64) {
	for _, e := range entries {
		switch e.Op {
		case "Read":
			read += int64(e.Value)
		case "Write":
			written += int64(e.Value)
		}
	}
	return read, written
}

func (c *Counters) version2(m *v2.Metrics) {
	cpu, memory := m.GetCPU(), m.GetMemory()
	c.CPU = time.Duration(cpu.GetUsageUsec()) * time.Microsecond
	c.CPUUser = time.Duration(cpu.GetUserUsec()) * time.Microsecond
	c.CPUSystem = time.Duration(cpu.GetSystemUsec()) * time.Microsecond
	c.CPUThrottled = time.Duration(cpu.GetThrottledUsec()) * time.Microsecond
	c.Memory = less(memory.GetUsage(), memory.GetInactiveFile())
	c.MemoryPeak, c.MemoryLimit = int64(memory.GetMaxUsage()), limit(memory.GetUsageLimit())
	c.Pids, c.PidsLimit = int64(m.GetPids().GetCurrent()), limit(m.GetPids().GetLimit())
	for _, e := range m.GetIo().GetUsage() {
		c.ReadBytes += int64(e.Rbytes)
		c.WrittenBytes += int64(e.Wbytes)
		c.Reads += int64(e.Rios)
		c.Writes += int64(e.Wios)
	}
}

// less takes part from all. The kernel reads them at different moments.
func less(all, part uint64) int64 { return int64(all - min(all, part)) }

// limit is 0 for what the kernel or containerd's package say for "none":
// multiples of pages near the greatest number, or that number.
func limit(n uint64) int64 {
	if n >= 1<<62 {
		return 0
	}
	return int64(n)
}
