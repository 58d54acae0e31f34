package task

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// cgroup is where a container is in the hierarchies, by controller; "" is
// version 2's.
type cgroup map[string]string

// cgroupOf reads it while the process lives, proc_pid_cgroup. A hierarchy in
// which the process has no cgroup of its own is left out: what is done to a
// container's cgroup must never hit that of the shim, nor the root, which is
// what version 1 tells of a process that has ended.
func cgroupOf(pid int) cgroup {
	g := readCgroup(fmt.Sprintf("/proc/%d/cgroup", pid))
	own := readCgroup("/proc/self/cgroup")
	maps.DeleteFunc(g, func(name, path string) bool { return path == "/" || path == own[name] })
	return g
}

func readCgroup(path string) cgroup {
	g := cgroup{}
	b, _ := os.ReadFile(path)
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		f := strings.SplitN(s.Text(), ":", 3)
		if len(f) == 3 {
			for _, name := range strings.Split(f[1], ",") {
				g[name] = f[2]
			}
		}
	}
	return g
}

// unified tells whether version 2 is all there is. On a hybrid host it is
// mounted as well, without the controllers.
var unified = sync.OnceValue(func() bool { return cgroups.Mode() == cgroups.Unified })

// dir is the cgroup's directory in a controller's hierarchy; "" is none.
func (g cgroup) dir(controller string) string {
	mount := filepath.Join("/sys/fs/cgroup", controller)
	if unified() {
		controller, mount = "", "/sys/fs/cgroup"
	}
	if g[controller] == "" {
		return ""
	}
	return filepath.Join(mount, g[controller])
}

// processes is a directory that lists its processes; they are in every
// hierarchy, but not every host has all.
func (g cgroup) processes() string {
	for _, c := range []string{"pids", "memory", "freezer", "cpu"} {
		if dir := g.dir(c); dir != "" {
			return dir
		}
	}
	return ""
}

// oomKills is how many processes of the cgroup the kernel has killed for want
// of memory.
func (g cgroup) oomKills() int {
	dir := g.dir("memory")
	if dir == "" {
		return 0
	}
	b, _ := os.ReadFile(filepath.Join(dir, oomCounter())) // it may be gone
	return oomKillsIn(b)
}

// oomCounter is the name of the file with that number.
func oomCounter() string {
	if unified() {
		return "memory.events"
	}
	return "memory.oom_control" // it counts since Linux 4.13
}

func oomKillsIn(counters []byte) int {
	for line := range strings.Lines(string(counters)) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			count, _ := strconv.Atoi(strings.TrimSpace(n))
			return count
		}
	}
	return 0
}

// pids are all processes in the cgroup and below it. What comes and goes
// below meanwhile is no error.
func (g cgroup) pids() ([]int, error) {
	root := g.processes()
	if root == "" {
		return nil, fmt.Errorf("the container has no cgroup: %w", errdefs.ErrNotFound)
	}
	var pids []int
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		var b []byte
		if err == nil && d.IsDir() {
			b, err = os.ReadFile(filepath.Join(path, "cgroup.procs"))
		}
		for _, f := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		if path != root && gone(err) {
			return nil
		}
		return err
	})
	if gone(err) {
		return nil, fmt.Errorf("the container has ended: %w", errdefs.ErrNotFound)
	}
	return pids, err
}

func gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) }

// killPatience is how long killed processes may take to be gone.
const killPatience = 5 * time.Second

// kill kills all processes, also those that they start meanwhile, and waits
// until none is left.
func (g cgroup) kill() {
	if dir := g.dir("pids"); dir != "" {
		// Nothing is started any more: a fork bomb would outrun the killing.
		if f, err := os.OpenFile(filepath.Join(dir, "pids.max"), os.O_WRONLY, 0); err == nil {
			_, _ = f.WriteString("0")
			f.Close()
		}
	}
	deadline := time.Now().Add(killPatience)
	for pause := time.Millisecond; time.Now().Before(deadline); pause = min(2*pause, 50*time.Millisecond) {
		pids, err := g.pids()
		if err != nil || len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = g.signal(pid, unix.SIGKILL)
		}
		time.Sleep(pause)
	}
}

// signal sends a signal to one of the processes. By now the number may be
// another's, which is left alone.
func (g cgroup) signal(pid int, sig unix.Signal) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		defer unix.Close(fd)
		if g.holds(pid) {
			err = unix.PidfdSendSignal(fd, sig, nil, 0)
		}
	}
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// holds tells whether a process is in the cgroup, or below it.
func (g cgroup) holds(pid int) bool {
	for name, path := range readCgroup(fmt.Sprintf("/proc/%d/cgroup", pid)) {
		if own := g[name]; own != "" && strings.HasPrefix(path+"/", own+"/") {
			return true
		}
	}
	return false
}

// thaw ends what keeps processes of the cgroup, and of those below, from going
// on. An error is that there is nobody.
func (g cgroup) thaw() {
	name, word := "freezer.state", "THAWED"
	if unified() {
		name, word = "cgroup.freeze", "0"
	}
	dir := g.dir("freezer")
	if dir == "" {
		return
	}
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		if f, err := os.OpenFile(filepath.Join(path, name), os.O_WRONLY, 0); err == nil {
			_, _ = f.WriteString(word)
			f.Close()
		}
		return nil
	})
}

// freezeLimit is how long processes may take to stop. One that waits for a dead
// disk does not, and with version 1 nothing dies before it has.
const freezeLimit = 10 * time.Second

// awaitFrozen waits until no process goes on. runc does so itself; crun 1.8 only
// tells the kernel to freeze them.
func (g cgroup) awaitFrozen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, freezeLimit)
	defer cancel()
	name, frozen := "freezer.state", "FROZEN"
	if unified() {
		name, frozen = "cgroup.events", "frozen 1"
	}
	dir := g.dir("freezer")
	if dir == "" {
		return nil
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || strings.Contains(string(b), frozen) {
			return nil // an error is that there is nobody any more
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("its processes do not stop: %w", ctx.Err())
		}
	}
}

// counted are version 1's controllers that count something, at the place where
// every host has them. containerd's package would look for that place in the
// table of mounts at each call, which is long where many containers run.
func counted() ([]cgroup1.Subsystem, error) {
	const root = "/sys/fs/cgroup"
	return []cgroup1.Subsystem{
		cgroup1.NewBlkio(root), cgroup1.NewCpu(root), cgroup1.NewCpuacct(root),
		cgroup1.NewMemory(root), cgroup1.NewPids(root),
	}, nil
}

// stats reads the counters, in containerd's types.
func (g cgroup) stats() (any, error) {
	if unified() {
		if g[""] == "" {
			return nil, fmt.Errorf("the container has no cgroup: %w", errdefs.ErrNotFound)
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
