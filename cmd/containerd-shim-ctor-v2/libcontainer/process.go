package libcontainer

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/containerd/errdefs"
	runc "github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

var rlimits = map[string]int{
	"RLIMIT_AS":         unix.RLIMIT_AS,
	"RLIMIT_CORE":       unix.RLIMIT_CORE,
	"RLIMIT_CPU":        unix.RLIMIT_CPU,
	"RLIMIT_DATA":       unix.RLIMIT_DATA,
	"RLIMIT_FSIZE":      unix.RLIMIT_FSIZE,
	"RLIMIT_LOCKS":      unix.RLIMIT_LOCKS,
	"RLIMIT_MEMLOCK":    unix.RLIMIT_MEMLOCK,
	"RLIMIT_MSGQUEUE":   unix.RLIMIT_MSGQUEUE,
	"RLIMIT_NICE":       unix.RLIMIT_NICE,
	"RLIMIT_NOFILE":     unix.RLIMIT_NOFILE,
	"RLIMIT_NPROC":      unix.RLIMIT_NPROC,
	"RLIMIT_RSS":        unix.RLIMIT_RSS,
	"RLIMIT_RTPRIO":     unix.RLIMIT_RTPRIO,
	"RLIMIT_RTTIME":     unix.RLIMIT_RTTIME,
	"RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
	"RLIMIT_STACK":      unix.RLIMIT_STACK,
}

// newProcess is the process in libcontainer's terms.
func newProcess(p *specs.Process) (*runc.Process, error) {
	if len(p.Args) == 0 {
		return nil, fmt.Errorf("%w: a process without arguments", errdefs.ErrInvalidArgument)
	}
	if !filepath.IsAbs(p.Cwd) {
		return nil, fmt.Errorf("%w: working directory %q is not absolute", errdefs.ErrInvalidArgument, p.Cwd)
	}
	noNewPrivileges := p.NoNewPrivileges
	r := &runc.Process{
		Args:            p.Args,
		Env:             p.Env,
		Cwd:             p.Cwd,
		UID:             int(p.User.UID),
		GID:             int(p.User.GID),
		NoNewPrivileges: &noNewPrivileges,
		AppArmorProfile: p.ApparmorProfile,
		Label:           p.SelinuxLabel,
		Scheduler:       p.Scheduler,
		IOPriority:      p.IOPriority,
		// Or it writes thirty lines of debugging at each start, for us to read.
		LogLevel: strconv.Itoa(int(logrus.WarnLevel)),
	}
	for _, gid := range p.User.AdditionalGids {
		r.AdditionalGroups = append(r.AdditionalGroups, int(gid))
	}
	if c := p.Capabilities; c != nil {
		r.Capabilities = &configs.Capabilities{
			Bounding:    c.Bounding,
			Effective:   c.Effective,
			Permitted:   c.Permitted,
			Inheritable: c.Inheritable,
			Ambient:     c.Ambient,
		}
	}
	if p.ConsoleSize != nil {
		r.ConsoleWidth, r.ConsoleHeight = uint16(p.ConsoleSize.Width), uint16(p.ConsoleSize.Height)
	}
	for _, l := range p.Rlimits {
		kind, ok := rlimits[l.Type]
		if !ok {
			return nil, fmt.Errorf("%w: unknown rlimit %q", errdefs.ErrInvalidArgument, l.Type)
		}
		r.Rlimits = append(r.Rlimits, configs.Rlimit{Type: kind, Soft: l.Soft, Hard: l.Hard})
	}
	affinity, err := configs.ConvertCPUAffinity(p.ExecCPUAffinity)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errdefs.ErrInvalidArgument, err)
	}
	r.CPUAffinity = lateAffinity(affinity)
	return r, nil
}

// lateAffinity leaves out the affinity before the cgroup is joined: for it
// libcontainer starts the process on a thread that then ends, and the process
// gets its parent death signal.
func lateAffinity(a *configs.CPUAffinity) *configs.CPUAffinity {
	if a == nil {
		return nil
	}
	late := configs.CPUAffinity{Final: a.Final}
	if late.Final == nil {
		late.Final = a.Initial
	}
	return &late
}

// connect gives the process its standard streams. The files themselves: nothing
// is copied, and nothing of them stays with libcontainer.
func connect(p *runc.Process, in, out, err *os.File) {
	// A nil file in an interface would not be nil.
	if in != nil {
		p.Stdin = in
	}
	if out != nil {
		p.Stdout = out
	}
	if err != nil {
		p.Stderr = err
	}
}
