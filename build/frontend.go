package build

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/flightcontrol"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// convert is the frontend: it has a Dockerfile made a graph of steps, for each
// platform, and asks for its last. BuildKit's own does the same after it has
// looked whether another frontend is to do it, and has a data race in what is
// resolved here.
func (s *solving) convert(ctx context.Context, c gateway.Client) (_ *gateway.Result, err error) {
	ui, err := dockerui.NewClient(c)
	if err != nil {
		return nil, err
	}
	src, err := awaited(ctx, func() (*dockerui.Source, error) { return ui.ReadEntrypoint(ctx, "Dockerfile") })
	if err != nil {
		return nil, err
	}
	defer func() { err = located(err, src.SourceMap) }()
	text := string(src.Data)
	s.dockerfile.Store(&text)
	images := &resolver{to: c}
	images.once.CacheError = true
	if !s.o.onHost() {
		if images.adds, err = readAdds(src.Data, ui.BuildArgs, s.from.cloned); err != nil {
			return nil, err
		}
	}
	var converted sync.Map // *dockerfile2llb.Result by platform
	made, err := ui.Build(ctx, func(ctx context.Context, platform *ocispec.Platform, n int) (*dockerui.BuildResult, error) {
		o := dockerfile2llb.ConvertOpt{
			Config: ui.Config, Client: ui, SourceMap: src.SourceMap, MetaResolver: images, TargetPlatform: platform,
		}
		o.BuildArgs = maps.Clone(o.BuildArgs)
		if n == 0 {
			o.Warn = remark(ctx, src)
		}
		graph, err := awaited(ctx, func() (*dockerfile2llb.Result, error) {
			return dockerfile2llb.Dockerfile2LLB(ctx, src.Data, o)
		})
		if err != nil {
			return nil, err
		}
		converted.Store(platformID(platform), graph)
		def, err := graph.State.Marshal(ctx)
		if err != nil {
			return nil, err
		}
		r, err := c.Solve(ctx, gateway.SolveRequest{Definition: def.ToPB(), CacheImports: ui.CacheImports})
		if err != nil {
			return nil, err
		}
		ref, err := r.SingleRef()
		if err != nil {
			return nil, err
		}
		return &dockerui.BuildResult{Reference: ref, Image: graph.Image, BaseImage: graph.BaseImage, Epoch: graph.Epoch}, nil
	})
	if err != nil {
		return nil, err
	}
	err = scan(ctx, ui, c, made, func(platform string) *dockerfile2llb.Result {
		graph, _ := converted.Load(platform)
		return graph.(*dockerfile2llb.Result)
	})
	if err != nil {
		return nil, err
	}
	return made.Finalize()
}

// remark reports what a check of the Dockerfile says.
func remark(ctx context.Context, src *dockerui.Source) linter.LintWarnFunc {
	return func(rule, description, url, msg string, at []parser.Range) {
		src.Warn(ctx, rule+": "+msg, gateway.WarnOpts{
			Level: 1, Detail: [][]byte{[]byte(description)}, URL: url, Range: ranges(at),
		})
	}
}

// awaited gives what f does, or an error at ctx's end: for the key of an ssh server
// BuildKit v0.34.2 waits without end (util/sshutil/keyscan.go). f may outlast the build
// then, until the server or the network ends the connection.
func awaited[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		v, err := f()
		done <- outcome{v, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// located says of an error where in a Dockerfile it is, as the solver does of steps.
func located(err error, in *llb.SourceMap) error {
	var at *parser.LocationError
	if !errors.As(err, &at) {
		return err
	}
	for _, l := range at.Locations {
		err = errdefs.WithSource(err, &errdefs.Source{
			Info: &pb.SourceInfo{
				Data: in.Data, Filename: in.Filename, Language: in.Language, Definition: in.Definition.ToPB(),
			},
			Ranges: ranges(l),
		})
	}
	return err
}

// ranges are a parser's, as the solver has them.
func ranges(at []parser.Range) (list []*pb.Range) {
	for _, r := range at {
		list = append(list, &pb.Range{
			Start: &pb.Position{Line: int32(r.Start.Line), Character: int32(r.Start.Character)},
			End:   &pb.Position{Line: int32(r.End.Line), Character: int32(r.End.Character)},
		})
	}
	return list
}

// resolver finds the configuration of base images, each once a build. adds looks at
// them; nil is a build in which ADD may reach all that this host does.
type resolver struct {
	to   sourceresolver.ImageMetaResolver
	adds *adds
	once flightcontrol.CachedGroup[resolved]
}

type resolved struct {
	ref    string
	digest digest.Digest
	config []byte
}

// ResolveImageConfig implements llb.ImageMetaResolver.
func (r *resolver) ResolveImageConfig(ctx context.Context, ref string, o sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	// Of all options only the image's differ within a build.
	key := fmt.Sprintf("%s %v", ref, o.ImageOpt)
	if o.ImageOpt != nil {
		key = fmt.Sprintf("%s %s %v", ref, o.ImageOpt.ResolveMode, o.ImageOpt.Platform)
	}
	got, err := r.once.Do(ctx, key, func(ctx context.Context) (resolved, error) {
		ref, d, config, err := r.to.ResolveImageConfig(ctx, ref, o)
		if err == nil && r.adds != nil {
			err = r.adds.image(ref, config)
		}
		return resolved{ref, d, config}, err
	})
	return got.ref, got.digest, got.config, err
}
