package build

import (
	"fmt"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/archutil"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ctor "github.com/ctorhq/ctor"
)

// runnable tells why this host runs no command of a platform, if it does not. It is
// tried out: the kernel may have been taught others (binfmt_misc).
func runnable(p *pb.Platform) error {
	if p == nil {
		return nil
	}
	wanted := platforms.Normalize(ocispec.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant})
	for _, has := range archutil.SupportedPlatforms(true) {
		if platforms.Only(has).Match(wanted) {
			return nil
		}
	}
	return fmt.Errorf("this host runs no commands of %s: apt-get install qemu-user-static binfmt-support (%w)",
		platforms.Format(wanted), ctor.ErrUnavailable)
}
