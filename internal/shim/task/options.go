package task

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ctorhq/ctor/internal/cgroup"
)

// Options are what a client may ask of a shim, beside the configuration: those
// of containerd's own shim that mean something here.
type Options struct {
	UID, GID   int    // who owns the fifos that are the streams; 0: they stay as they are
	ShimCgroup string // where the shim is to be; "": where it is
}

// ParseOptions reads them. One that can't be honoured is
// errdefs.ErrNotImplemented: what a client asks for is not left out in silence.
func ParseOptions(a *anypb.Any) (Options, error) {
	if a == nil || a.TypeUrl == "" && len(a.Value) == 0 {
		return Options{}, nil
	}
	var o options.Options
	if !typeurl.Is(a, &o) {
		return Options{}, fmt.Errorf("runtime options of type %q: %w", a.TypeUrl, errdefs.ErrNotImplemented)
	}
	if err := proto.Unmarshal(a.Value, &o); err != nil {
		return Options{}, fmt.Errorf("runtime options: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	for name, set := range map[string]bool{
		"no_pivot_root": o.NoPivotRoot, "no_new_keyring": o.NoNewKeyring, "binary_name": o.BinaryName != "",
		"root": o.Root != "", "systemd_cgroup": o.SystemdCgroup, "criu_image_path": o.CriuImagePath != "",
		"criu_work_path": o.CriuWorkPath != "",
		//lint:ignore SA1019 what is deprecated may be asked for all the same
		"task_api": o.TaskApiAddress != "" || o.TaskApiVersion != 0,
	} {
		if set {
			return Options{}, fmt.Errorf("runtime option %s: %w here: leave it out", name, errdefs.ErrNotImplemented)
		}
	}
	return Options{UID: int(o.IoUid), GID: int(o.IoGid), ShimCgroup: o.ShimCgroup}, nil
}

// Own gives the fifos among a process's streams that are root's to their owner:
// a process whose root is another user opens them again, as /dev/stdout.
func (o Options) Own(streams ...string) error {
	if o.UID == 0 && o.GID == 0 {
		return nil
	}
	for _, path := range streams {
		path = strings.TrimPrefix(path, "fifo://")
		st, err := os.Stat(path)
		if err != nil || st.Mode()&fs.ModeNamedPipe == 0 || st.Sys().(*syscall.Stat_t).Uid != 0 {
			continue // a URI, or nothing, as with a terminal's stderr
		}
		if err := os.Chown(path, o.UID, o.GID); err != nil {
			return fmt.Errorf("owner of streams: %w", err)
		}
	}
	return nil
}

// heed does what options ask for before a container is made.
func (o order) heed(a *anypb.Any) error {
	asked, err := ParseOptions(a)
	if err != nil {
		return err
	}
	if asked.ShimCgroup != "" {
		if err := cgroup.Join(asked.ShimCgroup); err != nil {
			return fmt.Errorf("cgroup of the shim: %w", err)
		}
	}
	return asked.Own(o.paths.in, o.paths.out, o.paths.err)
}
