package command_test

import (
	"testing"

	"github.com/ctorhq/ctor/internal/shim/command"
	"github.com/ctorhq/ctor/internal/shim/task"
	"github.com/ctorhq/ctor/internal/shim/task/tasktest"
)

func TestMain(m *testing.M) { tasktest.Main(m) }

func TestConformance(t *testing.T) {
	tasktest.Run(t, func(*testing.T) task.Executor { return command.New("runc") })
}
