// Package procs is what the kernel tells of processes.
package procs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is one, at a moment.
type Process struct {
	Pid, Host, Parent int // in its innermost namespace; on the host; its parent's, there
	UID               int
	State             string
	Threads           int
	Memory            int64 // resident
	CPU               time.Duration
	Name              string
	Args              []string
}

// Of tells of processes of the host, by their pids. One that is gone is left out.
func Of(pids []int) (list []Process, err error) {
	for _, pid := range slices.Sorted(slices.Values(pids)) {
		p, err := read(pid)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// Beside gives the pids of the processes in a process's pid namespace.
func Beside(pid int) (list []int, err error) {
	namespace := func(pid string) (string, error) { return os.Readlink(filepath.Join("/proc", pid, "ns/pid")) }
	own, err := namespace(strconv.Itoa(pid))
	if err != nil {
		return nil, err
	}
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, d := range dirs {
		n, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		if is, err := namespace(d.Name()); err == nil && is == own { // else it is gone, or others'
			list = append(list, n)
		}
	}
	return list, nil
}

// ticks is how long a tick is of the times in /proc: the kernel's USER_HZ is 100 on
// every architecture that Go has.
const ticks = time.Second / 100

// read reads what /proc has of a process (proc(5)).
func read(pid int) (p Process, err error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return p, err
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return p, err
	}
	args, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return p, err
	}
	open, closing := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || closing < open {
		return p, fmt.Errorf("%s/stat: %q", dir, stat)
	}
	fields := strings.Fields(string(stat[closing+1:]))
	const state, parent, user, system, threads, resident = 0, 1, 11, 12, 17, 21
	if len(fields) <= resident {
		return p, fmt.Errorf("%s/stat: %q", dir, stat)
	}
	number := func(field int) int64 {
		n, _ := strconv.ParseInt(fields[field], 10, 64)
		return n
	}
	p = Process{
		Host: pid, Pid: pid, Parent: int(number(parent)), State: fields[state], Threads: int(number(threads)),
		Memory: number(resident) * int64(os.Getpagesize()), CPU: time.Duration(number(user)+number(system)) * ticks,
		Name: string(stat[open+1 : closing]),
	}
	if len(args) > 0 {
		p.Args = strings.Split(strings.TrimSuffix(string(args), "\x00"), "\x00")
	}
	p.more(string(status))
	return p, nil
}

// more takes what stat does not have from the lines of status.
func (p *Process) more(status string) {
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		switch {
		case name == "Uid" && len(fields) > 1:
			p.UID, _ = strconv.Atoi(fields[1])
		case name == "NSpid" && len(fields) > 0:
			p.Pid, _ = strconv.Atoi(fields[len(fields)-1])
		}
	}
}
