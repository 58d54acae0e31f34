package container

import (
	"syscall"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/life"
	"github.com/ctorhq/ctor/internal/record"
)

// about is what later calls and later programs must know of the container. It
// has an owner until it is all made, even one that outlives its owner: an owner
// that is killed in between leaves no half of a container.
func (b *builder) about(img ocispec.Image, health []byte) record.Record {
	signal := b.cfg.StopSignal
	if _, err := life.ParseSignal(img.Config.StopSignal); signal == "" && err == nil {
		signal = img.Config.StopSignal // one that is no signal is passed over
	}
	return record.Record{
		Name: b.cfg.Name, Ref: b.ref, Image: b.manifest.Digest.String(), Labels: b.cfg.Labels,
		StopSignal: signal, StopTimeout: b.cfg.StopTimeout, Health: health,
		Volumes: b.named(), Users: b.users, Quota: b.project, Disk: b.watched, LogLimit: b.cfg.LogLimit, Out: b.cfg.Network.plan.Record(),
		Detached: b.cfg.Detach, Kept: b.cfg.Keep, Owner: engine.Owner(),
		Restart: int(b.cfg.Restart), AutoRemove: b.cfg.AutoRemove,
	}
}

func (c *Container) stopTimeout() time.Duration {
	if d := c.about.StopTimeout; d != 0 {
		return d
	}
	return 10 * time.Second
}

func (c *Container) stopSignal() syscall.Signal {
	s, err := life.ParseSignal(c.about.StopSignal)
	if err != nil {
		return syscall.SIGTERM
	}
	return s
}
