package native

import "github.com/ctorhq/ctor/internal/shim/task"

// Beyond tells why a container is handed over.
var Beyond = beyond

// Without is an executor on a host that can't.
func Without(fallback task.Executor, why error) *Executor {
	return &Executor{fallback: fallback, why: why}
}
