package bundle

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Root is who root is in a container's user namespace, on the host: 0 and 0
// without one.
func Root(s *specs.Spec) (uid, gid int) {
	if s.Linux == nil {
		return 0, 0
	}
	return first(s.Linux.UIDMappings), first(s.Linux.GIDMappings)
}

func first(m []specs.LinuxIDMapping) int {
	for _, r := range m {
		if r.ContainerID == 0 && r.Size > 0 {
			return int(r.HostID)
		}
	}
	return 0
}

// Admits tells whether a user may pass through dir and all directories above it.
func Admits(dir string, uid, gid int) bool {
	for {
		st, err := os.Stat(dir)
		if err != nil || !passes(st, uid, gid) {
			return false
		}
		above := filepath.Dir(dir)
		if above == dir {
			return true
		}
		dir = above
	}
}

func passes(st os.FileInfo, uid, gid int) bool {
	s, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return false
	case uid == 0:
		return true
	case int(s.Uid) == uid:
		return st.Mode()&0o100 != 0
	case int(s.Gid) == gid:
		return st.Mode()&0o010 != 0
	}
	return st.Mode()&0o001 != 0
}
