// Package record is what this module keeps of a container for later calls and
// later programs: one struct, in an extension of containerd's own record.
package record

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/typeurl/v2"
)

// Record is a container's. Fields are added as they are needed, and none
// changes its meaning: a detached container may be of another version.
type Record struct {
	// Name is what the container is called; "" is by its id alone.
	Name string `json:",omitempty"`

	// Ref is the name of the image that it was made from, and Image the digest
	// of its manifest.
	Ref, Image string

	// Labels are the user's.
	Labels map[string]string `json:",omitempty"`

	// StopSignal is what Stop sends first, and StopTimeout how long it waits,
	// as in the container's Config: "" and 0 mean the default.
	StopSignal  string        `json:",omitempty"`
	StopTimeout time.Duration `json:",omitempty"`

	// Health is the HEALTHCHECK of the image, which may go before the
	// container; nil: none.
	Health json.RawMessage `json:",omitempty"`

	// Volumes names those that the container has.
	Volumes []string `json:",omitempty"`

	// Users is the first of the host's users that are the container's alone; 0:
	// it has none.
	Users uint32 `json:",omitempty"`

	// Quota is the project of the quota of its disk, and Disk the bound of one that
	// its program watches; 0: it has none.
	Quota uint32 `json:",omitempty"`
	Disk  int64  `json:",omitempty"`

	// LogLimit is that of the container's Config.
	LogLimit int64 `json:",omitempty"`

	// Out tells what makes the container's connections to the outside; nil: it
	// has no way out.
	Out *Out `json:",omitempty"`

	// Detached containers outlive their program, and of Kept ones all but the
	// processes does.
	Detached bool `json:",omitempty"`
	Kept     bool `json:",omitempty"`

	// Restart is a policy of package restart, and AutoRemove that the container is
	// removed when it has ended.
	Restart    int  `json:",omitempty"`
	AutoRemove bool `json:",omitempty"`

	// Owner is the process that the container belongs to, as engine.Owner names
	// it: the container goes with it. "" is none. One that is detached or kept
	// has an owner while it is made.
	Owner string `json:",omitempty"`
}

// Out is a way out.
type Out struct {
	// Policy is it, as package egress has it as data; nil: a function of the
	// program that gave it.
	Policy json.RawMessage `json:",omitempty"`
}

// extension is what containerd calls it.
const extension = "io.ctor.record"

func init() { typeurl.Register(&Record{}, "io.ctor", "record") }

// Of reads the record from containerd's. ok tells whether it has one: it has
// none if this module has not made the container, or a version of it that kept
// labels instead.
func Of(c containers.Container) (r Record, ok bool) {
	a, ok := c.Extensions[extension]
	if !ok || json.Unmarshal(a.GetValue(), &r) != nil {
		return Record{}, false
	}
	return r, true
}

// Put writes the record into containerd's, and the user's labels beside it,
// where other programs look for them. containerd keeps none that is empty.
func (r Record) Put(c *containers.Container) error {
	a, err := typeurl.MarshalAny(&r)
	if err != nil {
		return fmt.Errorf("record of container %s: %w", c.ID, err)
	}
	c.Extensions = maps.Clone(c.Extensions)
	if c.Extensions == nil {
		c.Extensions = map[string]typeurl.Any{}
	}
	c.Extensions[extension] = a
	c.Labels = maps.Clone(r.Labels)
	maps.DeleteFunc(c.Labels, func(_, value string) bool { return value == "" })
	return nil
}

// Field names the record within containerd's, for an update of it alone.
const Field = "extensions." + extension
