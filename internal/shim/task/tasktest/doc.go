// Package tasktest is the conformance test of an executor: the task service
// over it, driven as containerd's client drives it.
//
// It needs root, runs in the host's mount namespace, and makes its containers
// of busybox-static. The test process has to be a subreaper, as a shim is:
// call Main in the TestMain of the package that calls Run.
package tasktest

import (
	"testing"

	"github.com/ctorhq/ctor/internal/shim/task"
)

// Run tests an executor. newExecutor makes one for each test; several work at
// the same time.
func Run(t *testing.T, newExecutor func(t *testing.T) task.Executor) {
	if rootfs == "" {
		t.Fatal("tasktest.Run needs tasktest.Main in TestMain")
	}
	all := func(name string, parallel bool, tests map[string]func(*bed)) {
		t.Run(name, func(t *testing.T) {
			for name, test := range tests {
				t.Run(name, func(t *testing.T) {
					if parallel {
						t.Parallel()
					}
					test(newBed(t, newExecutor(t)))
				})
			}
		})
	}
	// What counts descriptors and goroutines has the process to itself.
	if !short() {
		all("alone", false, alone)
	}
	all("exit", true, exits)
	all("stdio", true, stdio)
	all("terminal", true, terminals)
	all("exec", true, execs)
	all("slate", true, slates)
	all("life", true, lives)
	all("kill", true, kills)
	all("limits", true, limits)
	all("events", true, events)
	all("log", true, logs)
	all("failure", true, failures)
	all("cancel", true, cancels)
	all("undo", true, undos)
	// Several CRIUs that ask the kernel at once what it can fail now and then.
	all("checkpoint", false, checkpoints)
}
