package spec

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/anypb"
)

// Relimited is a container's configuration with other limits.
type Relimited struct {
	Spec         *anypb.Any            // all of it, for the lives to come
	To           *specs.LinuxResources // what the one that runs is to have
	Back         *specs.LinuxResources // and what it had
	Was, Becomes *specs.Spec
}

// Relimit gives an encoded configuration other limits in place of all that it has.
// What Limits does not name stays.
func Relimit(encoded typeurl.Any, l Limits) (r Relimited, err error) {
	for _, s := range []**specs.Spec{&r.Was, &r.Becomes} {
		*s = &specs.Spec{}
		if err := json.Unmarshal(encoded.GetValue(), *s); err != nil {
			return r, fmt.Errorf("record: %w", err)
		}
		if (*s).Linux == nil {
			(*s).Linux = &specs.Linux{}
		}
		if (*s).Linux.Resources == nil {
			(*s).Linux.Resources = &specs.LinuxResources{}
		}
	}
	old, resources := r.Was.Linux.Resources, r.Becomes.Linux.Resources
	resources.CPU, resources.Memory, resources.BlockIO = nil, nil, nil
	if err := l.apply(resources); err != nil {
		return r, err
	}
	r.To, r.Back = from(old, resources), from(resources, old)
	r.Spec, err = Encode(r.Becomes)
	return r, err
}

// from is what changes limits to others: where those have none, that there is none
// has to be said.
func from(old, next *specs.LinuxResources) *specs.LinuxResources {
	r := &specs.LinuxResources{CPU: &specs.LinuxCPU{}, Memory: &specs.LinuxMemory{}, Pids: next.Pids, BlockIO: next.BlockIO}
	if next.CPU != nil {
		*r.CPU = *next.CPU
	}
	if next.Memory != nil {
		*r.Memory = *next.Memory
		check := true // else version 2 would kill what does not fit, where version 1 refuses
		r.Memory.CheckBeforeUpdate = &check
	}
	if c := old.CPU; c != nil {
		lift(&r.CPU.Quota, c.Quota, -1)
		lift(&r.CPU.Shares, c.Shares, DefaultShares)
		if c.Cpus != "" && r.CPU.Cpus == "" {
			r.CPU.Cpus = everyCPU()
		}
	}
	if m := old.Memory; m != nil {
		lift(&r.Memory.Limit, m.Limit, -1)
		lift(&r.Memory.Swap, m.Swap, -1)
	}
	if b := old.BlockIO; b != nil {
		if r.BlockIO == nil {
			r.BlockIO = &specs.LinuxBlockIO{}
		} else {
			copied := *r.BlockIO
			r.BlockIO = &copied
		}
		liftRates(&r.BlockIO.ThrottleReadBpsDevice, b.ThrottleReadBpsDevice)
		liftRates(&r.BlockIO.ThrottleWriteBpsDevice, b.ThrottleWriteBpsDevice)
		liftRates(&r.BlockIO.ThrottleReadIOPSDevice, b.ThrottleReadIOPSDevice)
		liftRates(&r.BlockIO.ThrottleWriteIOPSDevice, b.ThrottleWriteIOPSDevice)
	}
	return r
}

func lift[T any](limit **T, old *T, none T) {
	if old != nil && *limit == nil {
		*limit = &none
	}
}

// liftRates adds a rate of 0, which is none, for the devices that had one.
func liftRates(rates *[]specs.LinuxThrottleDevice, old []specs.LinuxThrottleDevice) {
	all := slices.Clone(*rates)
	for _, o := range old {
		if !slices.ContainsFunc(all, func(d specs.LinuxThrottleDevice) bool { return d.Major == o.Major && d.Minor == o.Minor }) {
			o.Rate = 0
			all = append(all, o)
		}
	}
	*rates = all
}
