// Package backend is what differs between the containerds that an engine can
// have behind its client: [Own] is of services in this process, [Running] of a
// containerd that runs.
package backend

import (
	"context"
	"io"
	"path/filepath"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/logfile"
)

var (
	_ engine.Backend = (*Own)(nil)
	_ engine.Backend = Running{}
)

// logs are kept in files of this host.
type logs struct{}

func logPath(o engine.Output) string { return filepath.Join(o.Dir, "log") }

// Logs implements engine.Backend.
func (logs) Logs(ctx context.Context, o engine.Output, of logfile.Options) (io.ReadCloser, error) {
	return logfile.Open(ctx, logPath(o), of)
}
