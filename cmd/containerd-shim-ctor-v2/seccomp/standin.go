//go:build seccomp

package seccomp

import (
	"encoding/base64"
	"fmt"
	"hash/fnv"

	"github.com/opencontainers/runc/libcontainer/configs"
)

// prefix is READY_PREFIX of ready.h.
const prefix = "ctor-ready:"

// standIn is a profile that makes libcontainer load f, where p would make it
// compile.
//
// libcontainer puts some instructions before a program: beyond the highest
// syscall that the profile names, for each architecture, the answer is ENOSYS.
// The stand-in names these highest ones, so that it gets the same
// instructions; as their action is the default one, they allow nothing.
//
// Under the stand-in itself a process is killed at its first syscall. With an
// errno instead it could not even end.
func standIn(p *configs.Seccomp, f *filter) *configs.Seccomp {
	s := &configs.Seccomp{
		DefaultAction: configs.KillProcess,
		Architectures: p.Architectures,
		Flags:         p.Flags,
		Syscalls:      []*configs.Syscall{{Name: encode(f.Program), Action: configs.Allow}},
	}
	for _, name := range f.Highest {
		s.Syscalls = append(s.Syscalls, &configs.Syscall{Name: name, Action: configs.KillProcess})
	}
	return s
}

func encode(program []byte) string {
	sum := fnv.New64a()
	sum.Write(program)
	return fmt.Sprintf("%s%08x:%016x:%s", prefix, len(program), sum.Sum64(), base64.RawStdEncoding.EncodeToString(program))
}
