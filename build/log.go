package build

import (
	"io"

	"github.com/containerd/log"
	"github.com/moby/buildkit/util/bklog"
	"github.com/sirupsen/logrus"
)

// BuildKit writes to the standard error of a program that never asked for it, and has
// containerd's code do the same. A program that has set containerd's logger, or sets
// it later, keeps its own.
func init() {
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	silent.SetLevel(logrus.PanicLevel)
	bklog.L = logrus.NewEntry(silent)
	if log.L.Logger == logrus.StandardLogger() {
		log.L = bklog.L
	}
}
