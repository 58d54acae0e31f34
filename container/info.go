package container

import (
	"context"
	"maps"
	"net/netip"
	"time"

	containerd "github.com/containerd/containerd/v2/client"

	"github.com/ctorhq/ctor/internal/engine"
)

// State is where a container is in its life.
type State string

// The states.
const (
	Created State = "created" // not started yet
	Running State = "running"
	Paused  State = "paused"
	Exited  State = "exited"

	Restarting State = "restarting" // ended, and Config.Restart is going to start it again
)

// Info is what a container tells about itself at a moment.
type Info struct {
	ID           string            // as the Container's method gives it
	Name         string            // likewise
	State        State             // where it is in its life
	Pid          int               // of its first process, on the host; 0 unless Running or Paused
	ExitCode     int               // once State is Exited or Restarting; 128+n where signal n ended it; -1: not known
	OOMKilled    bool              // the kernel has killed a process of it for want of memory
	DiskExceeded bool              // it was killed because it had more than Limits.Disk
	Created      time.Time         // when New made it
	Lives        int               // how often it was started
	Restarts     int               // how often of these by Config.Restart, since Start did
	Started      time.Time         // the last time; zero: not yet
	Finished     time.Time         // the last time, once State is Exited or Restarting; zero: not known
	ImageRef     string            // the name it was made from; may mean another image now
	Image        string            // the digest of the manifest it was made from
	Labels       map[string]string // as given in Config; the caller's to change
	Detached     bool              // as given in Config
	Kept         bool              // as Keep in Config

	// Health is how well the container is while it runs, and HealthSays what was wrong
	// when it was last looked at; "": nothing.
	Health     HealthStatus
	HealthSays string

	// Addresses are the container's in each of its networks, by the network's name;
	// one of IPv4, one of IPv6, or both. They are the same in all its lives.
	Addresses map[string][]netip.Addr
}

// Info asks for the container's state. After Close it is ctor.ErrNotFound.
func (c *Container) Info(ctx context.Context) (Info, error) {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return Info{}, c.wrap("info of", err)
	}
	defer leave()
	origin := c.origin.Load()
	i := Info{
		ID: c.ID(), Name: c.Name(), Created: c.record.CreatedAt,
		ImageRef: origin.Ref, Image: origin.Image,
		Detached: c.detached(), Kept: c.kept(),
		Labels: maps.Clone(c.about.Labels), Addresses: c.links.Addresses(),
	}
	l := c.life()
	i.Lives, i.Started, i.Restarts = l.Number(), l.Started(), c.journal.Read().Restarts
	s, err := l.Status(ctx)
	if err != nil {
		return Info{}, c.wrap("info of", engine.Cause(ctx, err))
	}
	switch s.State {
	case containerd.Created:
		i.State = Created
		if i.Lives > 0 {
			i.State = Restarting
		}
	case containerd.Stopped:
		i.State, i.ExitCode, i.Finished, i.OOMKilled, i.DiskExceeded = Exited, s.Exit.Code, s.Exit.At, s.Exit.OOMKilled, s.Exit.DiskExceeded
		if c.mender.Pending(i.Lives, s.Exit) {
			i.State = Restarting
		}
	case containerd.Paused, containerd.Pausing:
		i.State, i.Pid, i.OOMKilled = Paused, s.Pid, c.oomKilled()
	default:
		i.State, i.Pid, i.OOMKilled = Running, s.Pid, c.oomKilled()
		h, _ := c.e.Health.Health(c.ID()) // none, where nothing looks
		i.Health, i.HealthSays = HealthStatus(h.Verdict), h.Says
	}
	return i, nil
}
