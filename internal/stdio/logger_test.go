package stdio

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/logfile"
)

// The logger ends with the process, though others hold the pipes open, and
// has all that was written before.
func TestKeep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	outR, outW, err := os.Pipe()
	require.NoError(t, err)
	defer outW.Close()
	errR, errW, err := os.Pipe()
	require.NoError(t, err)
	defer errW.Close()
	ready := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- keep(t.Context(), path, 0, 0, outR, errR, func() error { close(ready); return nil })
	}()
	<-ready
	cmd := exec.Command("sh", "-c", "read x; echo out; echo err >&2; echo last")
	cmd.Stdout, cmd.Stderr = outW, errW
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	require.NoError(t, SetPid(path, cmd.Process.Pid))
	require.NoError(t, in.Close())
	_ = cmd.Wait()
	require.NoError(t, <-done)
	r, err := logfile.Open(t.Context(), path, logfile.Options{Stdout: true, Stderr: true})
	require.NoError(t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Len(t, b, len("out\nerr\nlast\n"))
}
