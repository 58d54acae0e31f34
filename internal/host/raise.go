package host

import (
	"fmt"
	"os"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/userns"
)

// CheckRaised says which resource limit a process is to have, or which place with the
// OOM killer, that this process may not give it.
func CheckRaised(p *specs.Process) error {
	status, _ := os.ReadFile("/proc/thread-self/status")
	// In a user namespace the capability counts for what belongs to that, which limits do not.
	if userns.Own().Host() && caps(status, "CapEff")&(1<<unix.CAP_SYS_RESOURCE) != 0 {
		return nil
	}
	const mend = "start the program with CAP_SYS_RESOURCE, as systemd and docker run --cap-add SYS_RESOURCE do"
	if p.OOMScoreAdj != nil && *p.OOMScoreAdj < 0 {
		return fmt.Errorf("OOM score %d: this root may not go below what it has, it lacks CAP_SYS_RESOURCE (%w): %s", *p.OOMScoreAdj, errdefs.ErrUnavailable, mend)
	}
	for _, l := range p.Rlimits {
		if most, ok := hardLimit(l.Type); ok && l.Hard > most {
			return fmt.Errorf("ulimit %s=%d: this root may have %d at most, it lacks CAP_SYS_RESOURCE (%w): %s",
				strings.ToLower(strings.TrimPrefix(l.Type, "RLIMIT_")), l.Hard, most, errdefs.ErrUnavailable, mend)
		}
	}
	return nil
}

// hardLimit is how far this process may raise a resource limit.
func hardLimit(name string) (most uint64, ok bool) {
	b, err := os.ReadFile("/proc/self/limits")
	title, known := limitTitles[name]
	if err != nil || !known {
		return 0, false
	}
	_, rest, found := strings.Cut("\n"+string(b), "\n"+title)
	fields := strings.Fields(rest)
	if !found || len(fields) < 2 {
		return 0, false
	}
	if fields[1] == "unlimited" {
		return ^uint64(0), true
	}
	_, err = fmt.Sscan(fields[1], &most)
	return most, err == nil
}

// limitTitles are what /proc/self/limits calls them, proc_pid_limits(5).
var limitTitles = map[string]string{
	"RLIMIT_AS": "Max address space", "RLIMIT_CORE": "Max core file size", "RLIMIT_CPU": "Max cpu time",
	"RLIMIT_DATA": "Max data size", "RLIMIT_FSIZE": "Max file size", "RLIMIT_LOCKS": "Max file locks",
	"RLIMIT_MEMLOCK": "Max locked memory", "RLIMIT_MSGQUEUE": "Max msgqueue size", "RLIMIT_NICE": "Max nice priority",
	"RLIMIT_NOFILE": "Max open files", "RLIMIT_NPROC": "Max processes", "RLIMIT_RSS": "Max resident set",
	"RLIMIT_RTPRIO": "Max realtime priority", "RLIMIT_RTTIME": "Max realtime timeout",
	"RLIMIT_SIGPENDING": "Max pending signals", "RLIMIT_STACK": "Max stack size",
}
