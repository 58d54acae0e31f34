package main

import (
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// machine is what the numbers depend on most.
type machine struct {
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	MiB    uint64 `json:"memory_mib"`
	Cgroup string `json:"cgroup"`
	System string `json:"system"`
	Go     string `json:"go"`
	Load   string `json:"load"` // when the bench began: not its own
}

func thisMachine() machine {
	m := machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), CPU: value("/proc/cpuinfo", "model name", ":"),
		System: strings.Trim(value("/etc/os-release", "PRETTY_NAME", "="), `"`), Cgroup: "v1"}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) == nil {
		m.MiB = s.Totalram * uint64(s.Unit) >> 20
	}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		m.Cgroup = "v2"
	} else if _, err := os.Stat("/sys/fs/cgroup/unified"); err == nil {
		m.Cgroup = "hybrid"
	}
	load, _ := os.ReadFile("/proc/loadavg")
	m.Load = strings.TrimSpace(string(load))
	return m
}

// value finds a line that begins with a name in a file, and gives the rest.
func value(file, name, sep string) string {
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, sep); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// versions are the peers' own words.
func versions() map[string]string {
	v := map[string]string{}
	for _, name := range []string{"bwrap", "runc", "containerd", "dockerd"} {
		out, err := exec.Command(name, "--version").Output()
		if err == nil {
			v[name], _, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
		}
	}
	return v
}
