package container

import (
	"context"
	"errors"
	"iter"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/reach"
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
	// Writes. With cgroup v1 the kernel counts less of it: only direct writes,
	// and lately only devices that the container has a limit for.
	ReadBytes, WrittenBytes, Reads, Writes int64
}

// Stats reads the container's counters, from New on until it ends: then it is
// ctor.ErrInvalid, and after Close ctor.ErrNotFound. Without cgroups, as a user
// namespace can be, it is ctor.ErrUnavailable.
func (c *Container) Stats(ctx context.Context) (s Stats, err error) {
	err = c.call(ctx, func(ctx context.Context) (err error) {
		s, err = c.stats(ctx)
		return err
	})
	return s, c.wrap("stats of", err)
}

func (c *Container) stats(ctx context.Context) (Stats, error) {
	if err := c.mustLive(ctx); err != nil {
		return Stats{}, err
	}
	if err := c.bounded(); err != nil {
		return Stats{}, err
	}
	n, err := cgroup.At(c.cgroup()).Count()
	if ended := c.mustLive(ctx); err != nil && ended != nil { // meanwhile
		err = ended
	}
	return Stats(n), err
}

// StatsEvery gives the counters again and again: at once, and then as often as the
// interval says, or every second if that is not positive. It ends with the
// container's life, also where a policy begins the next, or with the loop; and with an error when ctx ends, when the
// container is closed, or when it has ended or is not there from the start. What the
// loop's body takes longer for than the interval is left out, and not made up for. It
// holds about a dozen of the kernel's files open: to watch 200 containers takes one or
// two hundredths of a CPU.
func (c *Container) StatsEvery(ctx context.Context, interval time.Duration) iter.Seq2[Stats, error] {
	if interval <= 0 {
		interval = time.Second
	}
	return func(yield func(Stats, error) bool) {
		s, err := c.Stats(ctx)
		if err != nil {
			yield(s, err)
			return
		}
		life := max(c.life().Number(), 1) // also of one that is to be started
		clock := time.NewTicker(interval)
		defer clock.Stop()
		meter := cgroup.At(c.cgroup()).Meter()
		defer meter.Close()
		for yield(s, nil) {
			select {
			case <-clock.C:
			case <-ctx.Done():
				yield(Stats{}, c.wrap("stats of", context.Cause(ctx)))
				return
			case <-c.closed.Done():
				yield(Stats{}, c.wrap("stats of", reach.ErrClosed))
				return
			}
			// The runtime is asked only where the kernel has nothing to say.
			n, err := meter.Read()
			if err != nil || n.Pids == 0 {
				if c.life().Number() > life {
					return // its policy has begun the next
				}
				if s, err = c.Stats(ctx); errors.Is(err, errdefs.ErrInvalidArgument) {
					return // it has ended
				}
				if err != nil {
					yield(s, err)
					return
				}
				continue
			}
			s = Stats(n)
		}
	}
}

// mustLive is the error of a container that has ended.
func (c *Container) mustLive(ctx context.Context) error {
	s, err := c.life().Status(ctx)
	if err == nil && s.State == containerd.Stopped {
		err = hasEnded(s)
	}
	return err
}
