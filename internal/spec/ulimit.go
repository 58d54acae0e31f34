package spec

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// ulimit is a resource limit of a process. -1 is none, and a Hard of 0 is as Soft.
type ulimit = struct{ Soft, Hard int64 }

// ulimits are the names that setrlimit(2) has.
var ulimits = []string{"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"}

// Ulimits are resource limits, by their names in lower case, as the runtime is told
// them.
func Ulimits[U ~ulimit](by map[string]U) (list []specs.POSIXRlimit, err error) {
	for _, name := range slices.Sorted(maps.Keys(by)) {
		r, err := rlimit(name, ulimit(by[name]))
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

func rlimit(name string, u ulimit) (r specs.POSIXRlimit, err error) {
	if !slices.Contains(ulimits, name) {
		return r, fmt.Errorf("unknown ulimit %q: there are %s: %w", name, strings.Join(ulimits, ", "), errdefs.ErrInvalidArgument)
	}
	if u.Hard == 0 {
		u.Hard = u.Soft
	}
	if u.Soft < -1 || u.Hard < -1 {
		return r, fmt.Errorf("ulimit %s=%d:%d: it must be 0 or more, or -1 for none: %w", name, u.Soft, u.Hard, errdefs.ErrInvalidArgument)
	}
	number := func(n int64) uint64 {
		if n == -1 {
			return math.MaxUint64 // RLIM_INFINITY
		}
		return uint64(n)
	}
	r = specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(name), Soft: number(u.Soft), Hard: number(u.Hard)}
	if r.Soft > r.Hard {
		return r, fmt.Errorf("ulimit %s=%d:%d: the first is more than the second, which bounds it: %w", name, u.Soft, u.Hard, errdefs.ErrInvalidArgument)
	}
	return r, nil
}
