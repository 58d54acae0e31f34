package libcontainer

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Update changes the limits that r names. The others stay.
func (c *Container) Update(ctx context.Context, r *specs.LinuxResources) error {
	return c.change(ctx, "update", func() error {
		merged, err := merge(c.resources, r)
		if err != nil {
			return err
		}
		config := c.made.Config()
		spec := &specs.Spec{Linux: &specs.Linux{Resources: merged}}
		made, err := specconv.CreateCgroupConfig(&specconv.CreateOpts{CgroupName: c.made.ID(), Spec: spec}, nil)
		if err != nil {
			return fmt.Errorf("%w: %w", errdefs.ErrInvalidArgument, err)
		}
		cgroup := *config.Cgroups
		// Devices are no limits: they stay.
		made.Resources.Devices = cgroup.Resources.Devices
		cgroup.Resources = made.Resources
		config.Cgroups = &cgroup
		if err := c.made.Set(config); err != nil {
			return err
		}
		c.resources = merged
		return nil
	})
}

// merge returns old with what change sets. Both stay as they are.
func merge(old, change *specs.LinuxResources) (*specs.LinuxResources, error) {
	merged := &specs.LinuxResources{}
	for _, r := range []*specs.LinuxResources{old, change} {
		if r == nil {
			continue
		}
		// What is not set is not in the JSON, and so not overwritten.
		b, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(b, merged); err != nil {
			return nil, err
		}
	}
	return merged, nil
}
