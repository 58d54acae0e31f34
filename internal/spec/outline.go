package spec

import (
	"encoding/json"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Outline is what of a configuration is needed once the runtime has it.
type Outline struct {
	Process *specs.Process // the first
	Linux   struct {
		CgroupsPath, MountLabel  string
		UIDMappings, GIDMappings []specs.LinuxIDMapping
	}
}

// OutlineOf is that of a configuration.
func OutlineOf(s *specs.Spec) *Outline {
	o := &Outline{Process: s.Process}
	o.Linux.CgroupsPath, o.Linux.MountLabel = s.Linux.CgroupsPath, s.Linux.MountLabel
	o.Linux.UIDMappings, o.Linux.GIDMappings = s.Linux.UIDMappings, s.Linux.GIDMappings
	return o
}

// Read gives the outline of a configuration that Encode has written.
func Read(encoded typeurl.Any) (*Outline, error) {
	o := &Outline{}
	if encoded == nil {
		return o, fmt.Errorf("record: it has no configuration: %w", errdefs.ErrInvalidArgument)
	}
	if err := json.Unmarshal(encoded.GetValue(), o); err != nil {
		return o, fmt.Errorf("record: %w", err)
	}
	if o.Process == nil {
		return o, fmt.Errorf("record: it names no process: %w", errdefs.ErrInvalidArgument)
	}
	return o, nil
}
