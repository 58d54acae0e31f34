package build

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/source"
	"github.com/moby/buildkit/source/containerimage"
	"github.com/moby/buildkit/source/git"
	httpsource "github.com/moby/buildkit/source/http"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/image"
)

// sources puts what knows whose build it is before BuildKit's ways to get things.
func (h *hand) sources() error {
	s, err := httpsource.NewSource(httpsource.Opt{CacheAccessor: h.CacheMgr, Transport: outward{}})
	if err != nil {
		return err
	}
	h.HTTPSource = s
	h.SourceManager.Register(&told{s, h.b})
	h.SourceManager.Register(&told{h.ImageSource, h.b})
	if h.GitSource != nil {
		h.SourceManager.Register(&told{h.GitSource, h.b})
	}
	return nil
}

// told is a source whose work is done with the options of the build that it is
// for.
type told struct {
	source.Source
	b *builder
}

func (t *told) Resolve(ctx context.Context, id source.Identifier, sm *session.Manager, v solver.Vertex) (source.SourceInstance, error) {
	i, err := t.Source.Resolve(ctx, id, sm, v)
	if err != nil {
		return nil, err
	}
	return &toldInstance{SourceInstance: i, b: t.b, id: id, resolve: func(id source.Identifier) (source.SourceInstance, error) {
		return t.Source.Resolve(ctx, id, sm, v)
	}}, nil
}

type toldInstance struct {
	source.SourceInstance
	b       *builder
	id      source.Identifier
	resolve func(source.Identifier) (source.SourceInstance, error)
}

func (t *toldInstance) CacheKey(ctx context.Context, job solver.JobContext, index int) (key, pin string, opts solver.CacheOpts, done bool, err error) {
	ctx, s, err := t.b.fetching(ctx, job)
	if err != nil {
		return "", "", nil, false, err
	}
	switch i := t.id.(type) {
	case *containerimage.ImageIdentifier:
		err = s.base(ctx, i.Reference.String(), i.Platform)
	case *git.GitIdentifier:
		if i, err = s.mayClone(i); err == nil {
			t.SourceInstance, err = t.resolve(i)
		}
	}
	if err != nil {
		return "", "", nil, false, err
	}
	return t.SourceInstance.CacheKey(ctx, job, index)
}

func (t *toldInstance) Snapshot(ctx context.Context, job solver.JobContext) (cache.ImmutableRef, error) {
	ctx, _, err := t.b.fetching(ctx, job)
	if err != nil {
		return nil, err
	}
	return t.SourceInstance.Snapshot(ctx, job)
}

// ResolveSourceMetadata implements worker.Worker. This is where a FROM is first
// asked about.
func (h *hand) ResolveSourceMetadata(ctx context.Context, op *pb.SourceOp, opt sourceresolver.Opt, sm *session.Manager, job solver.JobContext) (*sourceresolver.MetaResponse, error) {
	ctx, s, err := h.b.fetching(ctx, job)
	if err != nil {
		return nil, err
	}
	if ref, ok := strings.CutPrefix(op.Identifier, "docker-image://"); ok {
		var p *ocispec.Platform
		if opt.ImageOpt != nil {
			p = opt.ImageOpt.Platform
		}
		if err := s.base(ctx, ref, p); err != nil {
			return nil, err
		}
	}
	if strings.HasPrefix(op.Identifier, "git://") {
		id, err := h.SourceManager.Identifier(&pb.Op_Source{Source: op}, nil)
		if err != nil {
			return nil, err
		}
		if _, err := s.mayClone(id.(*git.GitIdentifier)); err != nil {
			return nil, err
		}
	}
	return h.Worker.ResolveSourceMetadata(ctx, op, opt, sm, job)
}

type buildKey struct{}

// fetching gives the build that a job is for, and a context with it.
func (b *builder) fetching(ctx context.Context, job solver.JobContext) (context.Context, *solving, error) {
	if job == nil {
		return nil, nil, errors.New("a source that belongs to no build")
	}
	s, err := b.buildOf(job.Session())
	if err != nil {
		return nil, nil, err
	}
	return context.WithValue(ctx, buildKey{}, s), s, nil
}

// base brings a base image into the engine's store, unless it is there. BuildKit
// finds it there and asks no registry itself.
func (s *solving) base(ctx context.Context, ref string, p *ocispec.Platform) error {
	if s.there(ctx, ref) {
		return nil
	}
	pull := *s.o.Pull
	pull.Progress, pull.Platform = nil, ""
	if p != nil {
		pull.Platform = platforms.FormatAll(*p)
	}
	if pull.Policy == image.PullAlways && s.pulled(ctx, ref, pull.Platform) {
		pull.Policy = image.PullMissing // the frontend asks several times
	}
	i, err := image.Pull(ctx, s.e, ref, &pull)
	if errors.Is(err, ctor.ErrNotFound) && pull.Platform != "" {
		// An image that is no index is taken for whatever platform it is asked for, with
		// a remark of the frontend's.
		pull.Platform, pull.Verify = "", single(pull.Verify)
		if any, aerr := image.Pull(ctx, s.e, ref, &pull); aerr == nil {
			i, err = any, nil
		}
	}
	if errors.Is(err, ctor.ErrNotFound) && pull.Policy == image.PullNever {
		return fmt.Errorf("%w: pull it before, or leave Options.Pull.Policy zero", err)
	}
	if err != nil {
		return err
	}
	// A name with a digest is known to BuildKit by where its content came from.
	label, err := docker.AppendDistributionSourceLabel(s.in.Client.ContentStore(), i.Ref())
	if err != nil {
		return err
	}
	_, err = label(s.in.Context(ctx), ocispec.Descriptor{MediaType: images.MediaTypeDockerSchema2Manifest, Digest: i.Index()})
	return err
}

// single lets only an image pass that is no index, and that verify lets pass: of another
// nothing is fetched, and nothing stays.
func single(verify func(context.Context, image.Verification) error) func(context.Context, image.Verification) error {
	return func(ctx context.Context, v image.Verification) error {
		if v.Index != v.Digest {
			return fmt.Errorf("%s is an index (%w)", v.Ref, ctor.ErrInvalid)
		}
		if verify == nil {
			return nil
		}
		return verify(ctx, v)
	}
}

// there tells whether ref is a name with a tag and a digest, and the store has that
// image by the tag: the frontend asks like that once it knows the digest.
func (b *builder) there(ctx context.Context, ref string) bool {
	r, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return false
	}
	tagged, ok := r.(reference.Tagged)
	canonical, also := r.(reference.Canonical)
	if !ok || !also {
		return false
	}
	i, err := image.Get(ctx, b.e, r.Name()+":"+tagged.Tag())
	return err == nil && i.Index() == canonical.Digest()
}

// nowhere are the registries that BuildKit may ask: none. What it needs is in the
// engine's store before it asks.
func nowhere(host string) ([]docker.RegistryHost, error) {
	return []docker.RegistryHost{{
		Client: &http.Client{Transport: refusing{}}, Host: host, Scheme: "https", Path: "/v2",
		Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
	}}, nil
}

type refusing struct{}

func (refusing) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("%s is not asked for %s by a build: %w", r.URL.Host, r.URL.Path, ctor.ErrUnavailable)
}

// outward fetches what ADD names, by the network of the build's steps: a
// Dockerfile reaches nothing by ADD that it does not reach by RUN. What the program
// has named it fetches by its own.
type outward struct{}

func (outward) RoundTrip(r *http.Request) (*http.Response, error) {
	s, ok := r.Context().Value(buildKey{}).(*solving)
	if !ok {
		return nil, errors.New("a request that belongs to no build")
	}
	by := http.RoundTripper(byNetwork)
	if s.from.names(r) {
		by = http.DefaultTransport
	}
	resp, err := by.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	class, ok := map[int]error{
		http.StatusNotFound: ctor.ErrNotFound, http.StatusGone: ctor.ErrNotFound,
		http.StatusTooManyRequests: ctor.ErrUnavailable, http.StatusServiceUnavailable: ctor.ErrUnavailable,
	}[resp.StatusCode]
	if !ok {
		return resp, nil
	}
	resp.Body.Close()
	return nil, fmt.Errorf("status %s (%w)", resp.Status, class) // BuildKit's has no class
}

var byNetwork = &http.Transport{
	// None is kept: the next build may have another network.
	DisableKeepAlives: true,
	DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		return ctx.Value(buildKey{}).(*solving).o.Network.DialContext(ctx, network, address)
	},
}
