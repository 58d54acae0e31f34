package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Offers tells what of resources this host's cgroups don't have.
func Offers(r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	if err := Absent(); err != nil {
		if what := bounds(r); what != "" {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
	var needs []need
	if p := r.Pids; p != nil && value(p.Limit) > 0 && !CountsProcesses() {
		needs = append(needs, need{true, "pids", "limits of processes"})
	}
	if c := r.CPU; c != nil {
		needs = append(needs, need{c.Quota != nil || c.Shares != nil, "cpu", "limits of CPUs"}, need{c.Cpus != "" || c.Mems != "", "cpuset", "sets of CPUs"})
	}
	needs = append(needs, need{r.Memory != nil && r.Memory.Limit != nil, "memory", "limits of memory"})
	if b := r.BlockIO; b != nil {
		needs = append(needs, need{len(b.ThrottleReadBpsDevice)+len(b.ThrottleWriteBpsDevice)+len(b.ThrottleReadIOPSDevice)+len(b.ThrottleWriteIOPSDevice) > 0, "io", "rates of I/O"})
		if b.Weight != nil && !weighs() {
			return fmt.Errorf("weights of I/O: this kernel's disks have no scheduler for them (%w): modprobe bfq && echo bfq >/sys/block/DISK/queue/scheduler", errdefs.ErrUnavailable)
		}
	}
	for _, n := range needs {
		if n.is && !n.met() {
			return fmt.Errorf("%s: this host has no cgroups for them (%w): boot it with systemd.unified_cgroup_hierarchy=1", n.what, errdefs.ErrUnavailable)
		}
	}
	return nil
}

// need is a controller of version 2, and what it is needed for.
type need struct {
	is               bool
	controller, what string
}

func (n need) met() bool {
	if unified() {
		b, err := os.ReadFile(filepath.Join(Root, "cgroup.controllers"))
		return err == nil && strings.Contains(" "+strings.TrimSpace(string(b))+" ", " "+n.controller+" ")
	}
	dir := n.controller
	if dir == "io" {
		dir = "blkio"
	}
	_, err := os.Stat(filepath.Join(Root, dir))
	return err == nil
}

// weighs tells whether weights of I/O mean something here. Version 2's root has no
// file of them, so a cgroup below it has to tell.
func weighs() bool {
	found := func(pattern string) bool {
		names, _ := filepath.Glob(filepath.Join(Root, pattern))
		return len(names) > 0
	}
	if !unified() {
		return found("blkio/blkio.bfq.*") || found("blkio/blkio.weight*")
	}
	return found("*/io*.weight") || !found("*/io.max")
}
