package container

import (
	"context"
	"fmt"
	"time"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"

	"github.com/ctorhq/ctor/internal/engine"
)

// Stats is what a container uses, and has used since New, as the kernel counts
// it for all its processes together. What the host has no counter for is 0.
type Stats struct {
	// Time is when the rest was read.
	Time time.Time

	// CPU is the CPU time used: in two seconds that two CPUs were busy, four.
	// CPUUser and CPUSystem are its two parts, which the kernel counts less
	// exactly. CPUThrottled is the time for which Limits.CPUs made it wait.
	CPU, CPUUser, CPUSystem, CPUThrottled time.Duration

	// Memory is in use now, in bytes, without the file contents that the
	// kernel would let go first; docker stats shows the same. MemoryPeak is the
	// most there was, with such contents. MemoryLimit is Limits.Memory; 0 is no
	// limit.
	Memory, MemoryPeak, MemoryLimit int64

	// Pids is how many processes and threads there are. PidsLimit is
	// Limits.Pids; 0 is no limit.
	Pids, PidsLimit int64

	// ReadBytes and WrittenBytes went from and to block devices, in Reads and
	// Writes. With cgroup v1 the kernel counts less of it: nothing that it
	// writes later, as it does unless a program asks for direct writes, and
	// lately nothing of a device that the container has no limit for.
	ReadBytes, WrittenBytes, Reads, Writes int64
}

// Stats reads the container's counters, from New on until it ends: then it is
// ctor.ErrInvalid, and after Close ctor.ErrNotFound.
func (c *Container) Stats(ctx context.Context) (Stats, error) {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return Stats{}, c.wrap("stats of", err)
	}
	defer leave()
	s, err := c.stats(ctx)
	return s, c.wrap("stats of", engine.Cause(ctx, err))
}

func (c *Container) stats(ctx context.Context) (Stats, error) {
	if err := c.mustLive(ctx); err != nil {
		return Stats{}, err
	}
	m, err := c.first().Metrics(ctx)
	if err != nil {
		if ended := c.mustLive(ctx); ended != nil { // meanwhile
			err = ended
		}
		return Stats{}, err
	}
	counters, err := typeurl.UnmarshalAny(m.Data)
	if err != nil {
		return Stats{}, err
	}
	s := Stats{Time: m.Timestamp.AsTime()}
	switch counters := counters.(type) {
	case *v1.Metrics:
		s.version1(counters)
	case *v2.Metrics:
		s.version2(counters)
	default:
		return Stats{}, fmt.Errorf("counters of type %s: %w", m.Data.TypeUrl, errdefs.ErrNotImplemented)
	}
	return s, nil
}

// mustLive is the error of a container that has ended.
func (c *Container) mustLive(ctx context.Context) error {
	s, err := c.life().Status(ctx)
	if err == nil && s.State == containerd.Stopped {
		err = hasEnded(s)
	}
	return err
}

func (s *Stats) version1(m *v1.Metrics) {
	cpu, memory := m.GetCPU(), m.GetMemory()
	s.CPU = time.Duration(cpu.GetUsage().GetTotal())
	s.CPUUser = time.Duration(cpu.GetUsage().GetUser())
	s.CPUSystem = time.Duration(cpu.GetUsage().GetKernel())
	s.CPUThrottled = time.Duration(cpu.GetThrottling().GetThrottledTime())
	usage := memory.GetUsage()
	s.Memory = less(usage.GetUsage(), memory.GetTotalInactiveFile())
	s.MemoryPeak, s.MemoryLimit = int64(usage.GetMax()), limit(usage.GetLimit())
	s.Pids, s.PidsLimit = int64(m.GetPids().GetCurrent()), limit(m.GetPids().GetLimit())
	s.ReadBytes, s.WrittenBytes = sum(m.GetBlkio().GetIoServiceBytesRecursive())
	s.Reads, s.Writes = sum(m.GetBlkio().GetIoServicedRecursive())
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

func (s *Stats) version2(m *v2.Metrics) {
	cpu, memory := m.GetCPU(), m.GetMemory()
	s.CPU = time.Duration(cpu.GetUsageUsec()) * time.Microsecond
	s.CPUUser = time.Duration(cpu.GetUserUsec()) * time.Microsecond
	s.CPUSystem = time.Duration(cpu.GetSystemUsec()) * time.Microsecond
	s.CPUThrottled = time.Duration(cpu.GetThrottledUsec()) * time.Microsecond
	s.Memory = less(memory.GetUsage(), memory.GetInactiveFile())
	s.MemoryPeak, s.MemoryLimit = int64(memory.GetMaxUsage()), limit(memory.GetUsageLimit())
	s.Pids, s.PidsLimit = int64(m.GetPids().GetCurrent()), limit(m.GetPids().GetLimit())
	for _, e := range m.GetIo().GetUsage() {
		s.ReadBytes += int64(e.Rbytes)
		s.WrittenBytes += int64(e.Wbytes)
		s.Reads += int64(e.Rios)
		s.Writes += int64(e.Wios)
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
