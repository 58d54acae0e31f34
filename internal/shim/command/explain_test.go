package command

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/stretchr/testify/require"
)

// What runc 1.1.5 and crun 1.8.1 have said means the same.
func TestExplain(t *testing.T) {
	for words, class := range map[string]error{
		`runc create failed: unable to start container process: exec: "nope": executable file not found in $PATH`: exec.ErrNotFound,
		"executable file `nope` not found in $PATH: No such file or directory":                                    exec.ErrNotFound,
		`runc create failed: unable to start container process: exec: "/etc": permission denied`:                  fs.ErrPermission,
		"open executable: Operation not permitted":                                                                fs.ErrPermission,
		"open `/nope`: No such file or directory":                                                                 fs.ErrNotExist,
		"cannot exec in a paused container":                                                                       errdefs.ErrFailedPrecondition,
		"the container `c1` is paused":                                                                            errdefs.ErrFailedPrecondition,
		"the container `c1` is not running":                                                                       errdefs.ErrFailedPrecondition,
		"container does not exist":                                                                                errdefs.ErrNotFound,
	} {
		line, err := json.Marshal(map[string]string{"level": "error", "msg": words})
		require.NoError(t, err)
		log := filepath.Join(t.TempDir(), "log")
		require.NoError(t, os.WriteFile(log, line, 0o600))
		require.ErrorIs(t, explain(log, errors.New("exit status 1")), class, words)
	}
	unlogged := errors.New("crun did not terminate successfully: exit status 1: unknown command checkpoint")
	err := explain(filepath.Join(t.TempDir(), "log"), unlogged)
	require.ErrorIs(t, err, errdefs.ErrNotImplemented)
	require.ErrorIs(t, err, unlogged)
}

// Words that mean nothing known are an error like any, also among others: a shim
// sends it.
func TestExplainUnknown(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(log, []byte(`{"level":"error","msg":"whatever"}`), 0o600))
	err := explain(log, errors.New("exit status 1"))
	require.EqualError(t, err, "whatever")
	require.ErrorContains(t, errgrpc.ToGRPC(errors.Join(errdefs.ErrUnavailable, err)), "whatever")
}
