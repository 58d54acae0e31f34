package build

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/archutil"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ctor "github.com/ctorhq/ctor"
)

// foreign explains a command's error by its platform, if that is one that this host
// does not run, which is tried out: the kernel may have been taught others
// (binfmt_misc). A platform says nothing of the command itself, so it is no reason to
// refuse one.
func foreign(err error, p *pb.Platform) error {
	if p == nil || !strings.Contains(err.Error(), syscall.ENOEXEC.Error()) {
		return err
	}
	wanted := platforms.Normalize(ocispec.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant})
	for _, has := range archutil.SupportedPlatforms(true) {
		if platforms.Only(has).Match(wanted) {
			return err
		}
	}
	return fmt.Errorf("this host runs no commands of %s: apt-get install qemu-user-static binfmt-support (%w): %w",
		platforms.Format(wanted), ctor.ErrUnavailable, err)
}

// platformID is a platform as the frontend's results name it; nil is this machine's.
func platformID(p *ocispec.Platform) string {
	if p == nil {
		return platforms.FormatAll(platforms.Normalize(platforms.DefaultSpec()))
	}
	return platforms.FormatAll(platforms.Normalize(*p))
}
