package container

import (
	"bytes"
	"context"
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

	"github.com/ctorhq/ctor/internal/cgroup"
	"github.com/ctorhq/ctor/internal/engine"
)

// ProcessInfo is what the kernel tells of a process of a container, or a command of
// one, at a moment. All of it is what the process likes, but for the numbers.
type ProcessInfo struct {
	Pid     int           // in the container
	HostPid int           // on the host
	Parent  int           // its parent's HostPid, which may be none of the container's
	UID     int           // the effective user, on the host
	State   string        // the kernel's letter, such as "R", "S" or "Z" (proc_pid_stat(5))
	Threads int           // how many it has
	Memory  int64         // resident, in bytes; what it shares counts too
	CPU     time.Duration // that it has used, in user and system mode
	Name    string        // of its program's file, up to 15 bytes
	Args    []string      // of its command; empty of one that has ended
}

// Top tells of the processes of a container, by their HostPid. One that ends meanwhile
// is left out. A container that does not run is ctor.ErrInvalid.
func (c *Container) Top(ctx context.Context) ([]ProcessInfo, error) {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return nil, c.wrap("top of", err)
	}
	defer leave()
	list, err := c.top(ctx)
	return list, c.wrap("top of", engine.Cause(ctx, err))
}

func (c *Container) top(ctx context.Context) ([]ProcessInfo, error) {
	s, err := c.life().Status(ctx)
	if err != nil {
		return nil, err
	}
	if s.Pid == 0 || ended(s) {
		return nil, invalid("it is %s", s.State)
	}
	pids, err := cgroup.Of(s.Pid).Pids()
	if err != nil {
		return nil, err
	}
	slices.Sort(pids)
	var list []ProcessInfo
	for _, pid := range pids {
		p, err := processInfo(pid)
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

// ticks is how long a tick is of the times in /proc: the kernel's USER_HZ is 100 on
// every architecture that Go has.
const ticks = time.Second / 100

// processInfo reads what /proc has of a process (proc(5)).
func processInfo(pid int) (p ProcessInfo, err error) {
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
	p = ProcessInfo{
		HostPid: pid, Pid: pid, Parent: int(number(parent)), State: fields[state], Threads: int(number(threads)),
		Memory: number(resident) * int64(os.Getpagesize()), CPU: time.Duration(number(user)+number(system)) * ticks,
		Name: string(stat[open+1 : closing]),
	}
	if len(args) > 0 {
		p.Args = strings.Split(strings.TrimSuffix(string(args), "\x00"), "\x00")
	}
	p.setStatus(string(status))
	return p, nil
}

// setStatus takes what stat does not have from the lines of status.
func (p *ProcessInfo) setStatus(status string) {
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
