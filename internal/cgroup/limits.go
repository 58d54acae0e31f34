package cgroup

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/cgroups"
	_ "github.com/opencontainers/cgroups/devices" // or fs2 can't filter devices
	devconfig "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/cgroups/fs"
	"github.com/opencontainers/cgroups/fs2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Limit sets a cgroup's limits, and the devices that it may use, before a command is
// executed in it. What r does not name stays as it is. The rules of runc are meant: its
// library sets what is more than a number.
func Limit(path string, r *specs.LinuxResources, rules []specs.LinuxDeviceCgroup) error {
	if path == "" {
		return Offers(r)
	}
	if unified() {
		made, err := resources(r)
		if err != nil {
			return err
		}
		for _, rule := range rules {
			made.Devices = append(made.Devices, deviceRule(rule))
		}
		return set(path, made)
	}
	if err := allow(filepath.Join(Root, "devices", path), rules); err != nil {
		return err
	}
	if only := onlyPids(r); only != nil {
		return limitPids(path, *only)
	}
	made, err := resources(r)
	if err != nil {
		return err
	}
	made.SkipDevices = true
	return set(path, made)
}

// onlyPids is the limit of processes, where no other is named: as a rule.
func onlyPids(r *specs.LinuxResources) *int64 {
	if r == nil || r.Pids == nil || r.Pids.Limit == nil {
		return nil
	}
	if r.Memory != nil || r.CPU != nil || r.BlockIO != nil || len(r.HugepageLimits) > 0 || r.Network != nil || len(r.Rdma) > 0 || len(r.Unified) > 0 {
		return nil
	}
	return r.Pids.Limit
}

func limitPids(path string, limit int64) error {
	text := "max"
	if limit > 0 {
		text = strconv.FormatInt(limit, 10)
	} else if limit == 0 {
		text = "1" // as runc has it, for systemd's sake
	}
	return cgroups.WriteFile(filepath.Join(Root, "pids", path), "pids.max", text)
}

func set(path string, r *cgroups.Resources) error {
	c := &cgroups.Cgroup{Path: path, Resources: r}
	var m interface {
		Set(*cgroups.Resources) error
	}
	var err error
	if unified() {
		m, err = fs2.NewManager(c, filepath.Join(Root, path))
	} else {
		m, err = one(c, path)
	}
	if err == nil {
		err = m.Set(r)
	}
	if err != nil {
		return fmt.Errorf("limits of cgroup %s: %w", path, err)
	}
	return nil
}

func one(c *cgroups.Cgroup, path string) (*fs.Manager, error) {
	all, err := mounted()
	if err != nil {
		return nil, err
	}
	paths := map[string]string{}
	for _, h := range all {
		for _, name := range h.controllers() {
			paths[name] = filepath.Join(h.dir, path)
		}
	}
	return fs.NewManager(c, paths)
}

// resources are limits in the library's terms.
func resources(r *specs.LinuxResources) (*cgroups.Resources, error) {
	made := &cgroups.Resources{}
	if r == nil {
		return made, nil
	}
	memory(made, r.Memory)
	if err := cpu(made, r.CPU); err != nil {
		return nil, err
	}
	blockIO(made, r.BlockIO)
	if r.Pids != nil {
		made.PidsLimit = r.Pids.Limit
	}
	for _, l := range r.HugepageLimits {
		made.HugetlbLimit = append(made.HugetlbLimit, &cgroups.HugepageLimit{Pagesize: l.Pagesize, Limit: l.Limit})
	}
	for name, l := range r.Rdma {
		if made.Rdma == nil {
			made.Rdma = map[string]cgroups.LinuxRdma{}
		}
		made.Rdma[name] = cgroups.LinuxRdma{HcaHandles: l.HcaHandles, HcaObjects: l.HcaObjects}
	}
	if n := r.Network; n != nil {
		made.NetClsClassid = value(n.ClassID)
		for _, p := range n.Priorities {
			made.NetPrioIfpriomap = append(made.NetPrioIfpriomap, &cgroups.IfPrioMap{Interface: p.Name, Priority: int64(p.Priority)})
		}
	}
	made.Unified = r.Unified
	return made, nil
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func memory(made *cgroups.Resources, m *specs.LinuxMemory) {
	if m == nil {
		return
	}
	made.Memory, made.MemoryReservation, made.MemorySwap = value(m.Limit), value(m.Reservation), value(m.Swap)
	made.MemorySwappiness = m.Swappiness
	made.OomKillDisable, made.MemoryCheckBeforeUpdate = value(m.DisableOOMKiller), value(m.CheckBeforeUpdate)
}

func cpu(made *cgroups.Resources, c *specs.LinuxCPU) error {
	if c == nil {
		return nil
	}
	if value(c.RealtimePeriod) != 0 || value(c.RealtimeRuntime) != 0 {
		return fmt.Errorf("realtime limits: %w", errdefs.ErrNotImplemented)
	}
	made.CpuShares = value(c.Shares)
	made.CpuWeight = cgroups.ConvertCPUSharesToCgroupV2Value(made.CpuShares)
	made.CpuQuota, made.CpuPeriod, made.CpuBurst = value(c.Quota), value(c.Period), c.Burst
	made.CpusetCpus, made.CpusetMems, made.CPUIdle = c.Cpus, c.Mems, c.Idle
	return nil
}

func blockIO(made *cgroups.Resources, b *specs.LinuxBlockIO) {
	if b == nil {
		return
	}
	made.BlkioWeight, made.BlkioLeafWeight = value(b.Weight), value(b.LeafWeight)
	for _, d := range b.WeightDevice {
		made.BlkioWeightDevice = append(made.BlkioWeightDevice, cgroups.NewWeightDevice(d.Major, d.Minor, value(d.Weight), value(d.LeafWeight)))
	}
	throttle := func(list []specs.LinuxThrottleDevice) (all []*cgroups.ThrottleDevice) {
		for _, d := range list {
			all = append(all, cgroups.NewThrottleDevice(d.Major, d.Minor, d.Rate))
		}
		return all
	}
	made.BlkioThrottleReadBpsDevice, made.BlkioThrottleWriteBpsDevice = throttle(b.ThrottleReadBpsDevice), throttle(b.ThrottleWriteBpsDevice)
	made.BlkioThrottleReadIOPSDevice, made.BlkioThrottleWriteIOPSDevice = throttle(b.ThrottleReadIOPSDevice), throttle(b.ThrottleWriteIOPSDevice)
}

// deviceRule is a rule in the library's terms.
func deviceRule(r specs.LinuxDeviceCgroup) *devconfig.Rule {
	rule := &devconfig.Rule{
		Type: devconfig.WildcardDevice, Major: devconfig.Wildcard, Minor: devconfig.Wildcard,
		Permissions: devconfig.Permissions(r.Access), Allow: r.Allow,
	}
	if r.Type != "" {
		rule.Type = devconfig.Type(r.Type[0])
	}
	if r.Major != nil {
		rule.Major = *r.Major
	}
	if r.Minor != nil {
		rule.Minor = *r.Minor
	}
	return rule
}

// allow writes rules for a new cgroup of version 1, one after the other, as the
// kernel takes them. There are a dozen, for two files: each is opened once.
func allow(dir string, rules []specs.LinuxDeviceCgroup) (err error) {
	files := map[bool]int{}
	defer func() {
		for _, fd := range files {
			unix.Close(fd)
		}
	}()
	for _, r := range rules {
		name := "devices.deny"
		if r.Allow {
			name = "devices.allow"
		}
		fd, open := files[r.Allow]
		if !open {
			path := filepath.Join(dir, name)
			if fd, err = unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0); err != nil {
				return &os.PathError{Op: "open", Path: path, Err: err}
			}
			files[r.Allow] = fd
		}
		rule := deviceRule(r)
		text := rule.CgroupString()
		if rule.Type == devconfig.WildcardDevice {
			text = "a"
		}
		if _, err := unix.Write(fd, []byte(text)); err != nil {
			return fmt.Errorf("rule %q for devices: %w", text, os.NewSyscallError("write "+name, err))
		}
	}
	return nil
}

// Freeze stops what runs in a cgroup. It does not wait until all of it has stopped.
func (g Group) Freeze() error {
	dir, name, word := g.Dir("freezer"), "freezer.state", "FROZEN"
	if unified() {
		name, word = "cgroup.freeze", "1"
	}
	if dir == "" {
		return cmp.Or(Absent(), fmt.Errorf("the container has no freezer: %w", errdefs.ErrNotImplemented))
	}
	return cgroups.WriteFile(dir, name, word)
}

// Frozen tells whether it is stopped, or about to be.
func (g Group) Frozen() bool {
	dir, name, running := g.Dir("freezer"), "freezer.state", "THAWED"
	if unified() {
		name, running = "cgroup.freeze", "0"
	}
	if dir == "" {
		return false
	}
	text, err := cgroups.ReadFile(dir, name)
	return err == nil && text != running && text != running+"\n"
}
