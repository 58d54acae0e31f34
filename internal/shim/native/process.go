package native

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/capability"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/shim/native/forker"
	"github.com/ctorhq/ctor/internal/shim/seccomp"
	"github.com/ctorhq/ctor/internal/shim/task"
	"github.com/ctorhq/ctor/internal/userns"
)

var resources = map[string]int{
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_DATA": unix.RLIMIT_DATA,
	"RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS, "RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK,
	"RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE,
	"RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_RSS": unix.RLIMIT_RSS, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO,
	"RLIMIT_RTTIME": unix.RLIMIT_RTTIME, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING, "RLIMIT_STACK": unix.RLIMIT_STACK,
}

// process is what of a process's configuration comes after its namespaces and
// mounts, in the order in which it has to be done.
type process struct {
	*specs.Process
	id     string // of the container
	first  bool
	env    []string
	filter *seccomp.Program
	users  *users
}

// streams gives the process its streams, or a terminal.
func (p process) streams(s *forker.Script, io task.Stdio) {
	if !io.Terminal {
		s.Streams(number(io.In), number(io.Out), number(io.Err))
		return
	}
	var rows, columns uint32
	if p.ConsoleSize != nil {
		rows, columns = uint32(p.ConsoleSize.Height), uint32(p.ConsoleSize.Width)
	}
	s.Terminal(rows, columns, p.first)
}

func number(f *os.File) int {
	if f == nil {
		return -1
	}
	return int(f.Fd())
}

// few are enough descriptors for the steps that are left.
const few = 256

// searchable are the permissions of a container's keyring: what the kernel gives a
// new one, and for its user to join it by name: keyrings(7).
const searchable = 0x3f1b0000

// settings are those that need rights, which the process gives up after them.
func (p process) settings(s *forker.Script) error {
	permissions := uint32(0)
	if p.first {
		permissions = searchable
	}
	s.Keyring(permissions, "_ses."+p.id)
	if p.OOMScoreAdj != nil {
		s.OwnSetting("oom_score_adj", strconv.Itoa(*p.OOMScoreAdj))
	}
	if p.ApparmorProfile != "" {
		s.OwnSetting(appArmor(), "exec "+p.ApparmorProfile)
	}
	if p.SelinuxLabel != "" {
		s.OwnSetting("attr/exec", p.SelinuxLabel)
	}
	for _, l := range p.Rlimits {
		if _, known := resources[l.Type]; !known {
			return fmt.Errorf("unknown resource limit %q: %w", l.Type, errdefs.ErrInvalidArgument)
		}
	}
	s.OwnStreams(p.users.uid(p.User.UID))
	if p.users != nil {
		// Limits are raised by the right over the host, which is gone after this.
		for _, l := range p.Rlimits {
			if r := resources[l.Type]; r != unix.RLIMIT_NOFILE {
				s.Limit(r, l.Soft, l.Hard)
			} else if l.Hard > few {
				s.Limit(r, max(few, l.Soft), l.Hard)
			}
		}
		s.Join(p.users.namespace, unix.CLONE_NEWUSER)
	}
	// What follows needs no descriptor. So the limit of them may be any, and a process
	// of the user's never has one that is not for it.
	s.CloseFiles()
	for _, l := range p.Rlimits {
		if r := resources[l.Type]; p.users == nil || r == unix.RLIMIT_NOFILE {
			s.Limit(r, l.Soft, l.Hard)
		}
	}
	return nil
}

// appArmor is the file by which a process says what it will be confined by.
var appArmor = sync.OnceValue(func() string {
	if _, err := os.Stat("/proc/self/attr/apparmor/exec"); err == nil {
		return "attr/apparmor/exec"
	}
	return "attr/exec" // Linux before 5.8
})

// finish makes it its user's process, finds its command, and executes it. After the
// filter only what every command needs is still to do.
func (p process) finish(s *forker.Script) {
	c := capabilities(p.Capabilities)
	s.Bounding(c.Bounding)
	mask := uint32(0o022)
	if p.User.Umask != nil {
		mask = *p.User.Umask
	}
	s.Umask(mask)
	// In a user namespace it may be forbidden to leave groups, which keep some from files.
	if userns.Own().Setgroups {
		s.Groups(p.User.AdditionalGids)
	}
	s.User(p.User.UID, p.User.GID)
	s.Find(value(p.env, "PATH"), p.Args[0])
	if p.NoNewPrivileges {
		s.Capabilities(c)
		s.NoNewPrivileges()
	}
	if p.first {
		s.Ready()
	}
	if p.filter != nil {
		s.Filter(uint32(p.filter.Flags), !p.NoNewPrivileges, p.filter.Instructions)
	}
	if !p.NoNewPrivileges {
		s.Capabilities(c)
	}
	s.Execute(p.Args, p.env)
}

// value is that of a variable, "" if it is not set.
func value(env []string, name string) string {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

// known are the capabilities of this kernel, by their names.
var known = sync.OnceValue(func() map[string]uint64 {
	all := map[string]uint64{}
	supported, err := capability.ListSupported()
	if err != nil {
		supported = capability.ListKnown()
	}
	for _, c := range supported {
		all["CAP_"+strings.ToUpper(c.String())] = 1 << uint(c)
	}
	return all
})

// capabilities are sets of them. Names that this kernel does not know are left out,
// as runc has it.
func capabilities(c *specs.LinuxCapabilities) forker.Capabilities {
	if c == nil {
		return forker.Capabilities{}
	}
	set := func(names []string) (bits uint64) {
		for _, n := range names {
			bits |= known()[n]
		}
		return bits
	}
	return forker.Capabilities{
		Bounding: set(c.Bounding), Effective: set(c.Effective), Permitted: set(c.Permitted),
		Inheritable: set(c.Inheritable), Ambient: set(c.Ambient),
	}
}
