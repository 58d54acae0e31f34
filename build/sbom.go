package build

import (
	"context"
	"fmt"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/attestations/sbom"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerui"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/result"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// scan has the scanner list what is in the image of each platform. scanned is what
// the Dockerfile has become there.
func scan(ctx context.Context, ui *dockerui.Client, c gateway.Client, made *dockerui.ResultBuilder, scanned func(platform string) *dockerfile2llb.Result) error {
	if ui.SBOM == nil {
		return nil
	}
	here := ui.BuildPlatforms[0]
	scanner, err := sbom.CreateSBOMScanner(ctx, c, ui.SBOM.Generator, here, sourceresolver.Opt{
		ImageOpt: &sourceresolver.ResolveImageOpt{ResolveMode: "local", Platform: &here},
	}, ui.SBOM.Parameters)
	if err != nil {
		return fmt.Errorf("scanner %s: %w", ui.SBOM.Generator, err)
	}
	return made.EachPlatform(ctx, func(ctx context.Context, id string, _ ocispec.Platform) error {
		target := scanned(id)
		var opts []llb.ConstraintsOpt
		if target.IsIgnoreCache {
			opts = append(opts, llb.IgnoreCache)
		}
		list, err := scanner(ctx, id, target.SBOM.Core, target.SBOM.Extras, opts...)
		if err != nil {
			return err
		}
		solved, err := result.ConvertAttestation(&list, func(st *llb.State) (gateway.Reference, error) {
			def, err := st.Marshal(ctx)
			if err != nil {
				return nil, err
			}
			r, err := c.Solve(ctx, gateway.SolveRequest{Definition: def.ToPB()})
			if err != nil {
				return nil, err
			}
			return r.SingleRef()
		})
		if err != nil {
			return err
		}
		made.AddAttestation(id, *solved)
		return nil
	})
}
