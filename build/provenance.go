package build

import (
	"context"
	"fmt"

	"github.com/moby/buildkit/executor/resources"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/llbsolver"
	"github.com/moby/buildkit/solver/llbsolver/proc"
	capture "github.com/moby/buildkit/solver/llbsolver/provenance"
	provenance "github.com/moby/buildkit/solver/llbsolver/provenance/types"
	"github.com/moby/buildkit/solver/pb"
)

// Provenance is how much an image tells of how it was made: an attestation in the
// format of SLSA v1 (https://slsa.dev/spec/v1.0/provenance), which the image's index
// has beside the image. It names the image by its tags, with its digest: it has no
// subject where Options.Tags is empty.
type Provenance int

// How much is told.
const (
	NoProvenance  Provenance = iota
	MinProvenance            // what the image was made from, by digest, and when
	MaxProvenance            // also the Dockerfile, the values of ARG and each step
)

// processors are what is done with a build's results before they are stored.
func (o *Options) processors() []llbsolver.Processor {
	mode := map[Provenance]string{MinProvenance: "min", MaxProvenance: "max"}[o.Provenance]
	if mode == "" {
		return nil
	}
	return []llbsolver.Processor{captureCommands, proc.ProvenanceProcessor(provenance.ProvenanceSLSA1, map[string]string{"mode": mode}, nil)}
}

// captureCommands notes what the commands of a build were given, of which BuildKit
// sees nothing: their steps are of types of this package.
func captureCommands(ctx context.Context, r *llbsolver.Result, _ *llbsolver.Solver, _ *solver.Job, _ *resources.SysSampler) (*llbsolver.Result, error) {
	all, err := exptypes.ParsePlatforms(r.Metadata)
	if err != nil {
		return nil, err
	}
	for _, p := range all.Platforms {
		noted, _ := r.Provenance.FindRef(p.ID)
		ref, ok := r.FindRef(p.ID)
		if noted == nil || !ok {
			continue
		}
		made, err := ref.Result(ctx)
		if err != nil {
			return nil, err
		}
		from, ok := made.(solver.CachedResultWithProvenance)
		if !ok {
			return nil, fmt.Errorf("BuildKit's result is a %T, which has no provenance", made)
		}
		err = from.WalkProvenance(ctx, func(op solver.ProvenanceProvider) error {
			if c, ok := op.(*commandOp); ok {
				c.capture(noted)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

// IsProvenanceProvider implements solver.ProvenanceProvider.
func (*commandOp) IsProvenanceProvider() {}

func (c *commandOp) capture(to *capture.Capture) {
	for _, m := range c.secrets {
		to.AddSecret(provenance.Secret{ID: m.SecretOpt.GetID(), Optional: m.SecretOpt.GetOptional()})
	}
	for _, m := range c.agents {
		to.AddSSH(provenance.SSH{ID: m.SSHOpt.GetID(), Optional: m.SSHOpt.GetOptional()})
	}
	for _, e := range c.exec.Secretenv {
		to.AddSecret(provenance.Secret{ID: e.GetID(), Optional: e.GetOptional()})
	}
	if c.exec.Network != pb.NetMode_NONE {
		to.NetworkAccess = true
	}
}
