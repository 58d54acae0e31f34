package native

import (
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ctorhq/ctor/internal/shim/seccomp"
)

// filters are the profiles that were compiled last. As a rule all containers of an
// engine have the same.
type filters struct {
	mu   sync.Mutex
	last []compiled
}

type compiled struct {
	profile *specs.LinuxSeccomp
	program *seccomp.Program
}

// maxFilters is how many are kept.
const maxFilters = 8

// compile makes a program of a profile; nil is that there is nothing to filter.
func (f *filters) compile(profile *specs.LinuxSeccomp) (*seccomp.Program, error) {
	if profile == nil {
		return nil, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.last {
		if reflect.DeepEqual(c.profile, profile) {
			return c.program, nil
		}
	}
	program, err := seccomp.Compile(profile)
	if errors.Is(err, errdefs.ErrNotImplemented) {
		return nil, fmt.Errorf("%w: %w", err, errBeyond)
	}
	if err != nil {
		return nil, err
	}
	f.last = append(f.last, compiled{profile, program})
	if len(f.last) > maxFilters {
		f.last = f.last[1:]
	}
	return program, nil
}
