package cgroup

import (
	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
)

// counted are version 1's controllers that count something, at the place where
// every host has them. containerd's package would look for that place in the
// table of mounts at each call, which is long where many containers run.
func counted() ([]cgroup1.Subsystem, error) {
	const root = Root
	return []cgroup1.Subsystem{
		cgroup1.NewBlkio(root), cgroup1.NewCpu(root), cgroup1.NewCpuacct(root),
		cgroup1.NewMemory(root), cgroup1.NewPids(root),
	}, nil
}

// Stats reads the counters, in containerd's types.
func (g Group) Stats() (any, error) {
	if err := Absent(); err != nil {
		return nil, err
	}
	if unified() {
		if g[""] == "" {
			return nil, errNone
		}
		m, err := cgroup2.Load(g[""])
		if err != nil {
			return nil, err
		}
		return m.Stat()
	}
	m, err := cgroup1.Load(func(name cgroup1.Name) (string, error) {
		if p, ok := g[string(name)]; ok {
			return p, nil
		}
		return "", cgroup1.ErrControllerNotActive
	}, cgroup1.WithHierarchy(counted))
	if err != nil {
		return nil, err
	}
	return m.Stat(cgroup1.IgnoreNotExist)
}
