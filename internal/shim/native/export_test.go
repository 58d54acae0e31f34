package native

import (
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func init() {
	compile = func(*specs.LinuxSeccomp) (filter, error) {
		return filter{program: []unix.SockFilter{{Code: 6, K: 0x7fff0000}}}, nil
	}
}

// Beyond tells why a container is handed over.
var Beyond = beyond
