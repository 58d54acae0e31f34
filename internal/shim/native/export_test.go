package native

import "github.com/ctorhq/ctor/internal/shim/task"

// Beyond tells why a container is handed over.
var Beyond = beyond

// Without is an executor on a host that can't.
func Without(fallback task.Executor, why error) *Executor {
	return &Executor{fallback: fallback, why: why}
}

// Expected is the process that waits in a cgroup for the rest of its container; 0: none
// does.
func Expected(e *Executor, group string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if x := e.expected[group]; x != nil {
		if child, err := x.born(); err == nil {
			return child.Pid
		}
	}
	return 0
}
