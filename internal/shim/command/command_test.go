package command_test

import (
	"os/exec"
	"testing"

	"github.com/ctorhq/ctor/internal/host"
	"github.com/ctorhq/ctor/internal/shim/command"
	"github.com/ctorhq/ctor/internal/shim/task"
	"github.com/ctorhq/ctor/internal/shim/task/tasktest"
)

func TestMain(m *testing.M) { tasktest.Main(m) }

func TestConformance(t *testing.T) {
	tasktest.Run(t, func(*testing.T) task.Executor { return command.New("runc") })
}

func TestConformanceCrun(t *testing.T) {
	if _, err := exec.LookPath("crun"); err != nil {
		t.Skip("no crun: apt-get install crun")
	}
	if host.Survey().Cgroup == host.Hybrid {
		t.Skip("crun refuses hosts with hybrid cgroups: hack/guest bare './internal/shim/command -test.run Crun'")
	}
	tasktest.Run(t, func(*testing.T) task.Executor { return command.New("crun") })
}
