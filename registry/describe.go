package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ctorhq/ctor/internal/reference"
)

const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	digestHeader   = "Docker-Content-Digest"
)

// describe asks what a manifest is: by HEAD, and where that doesn't tell, as
// with registries that leave out length, digest or type, by what GET returns.
func (e *endpoint) describe(ctx context.Context, ref reference.Reference) (ocispec.Descriptor, error) {
	resp, err := e.manifest(ctx, http.MethodHead, ref)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	resp.Body.Close()
	var said error
	switch resp.StatusCode {
	case http.StatusOK:
		d, err := describeHead(resp, ref)
		if err == nil {
			return d, nil
		}
		said = err
	case http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusNotAcceptable, http.StatusBadRequest:
		said = failure(resp)
	case http.StatusNotFound:
		return ocispec.Descriptor{}, errdef.ErrNotFound
	default:
		return ocispec.Descriptor{}, failure(resp)
	}
	d, err := e.describeBody(ctx, ref)
	if err != nil && resp.StatusCode == http.StatusOK && isNetwork(err) {
		return d, said
	}
	return d, err
}

// manifest sends a request for a manifest of any type.
func (e *endpoint) manifest(ctx context.Context, method string, ref reference.Reference) (*http.Response, error) {
	req, err := e.request(ctx, method, ref.Repository, "manifests/"+target(ref))
	if err != nil {
		return nil, err
	}
	for _, t := range []string{ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, dockerList, dockerManifest} {
		req.Header.Add("Accept", t)
	}
	return e.client.Do(req)
}

// request makes a request for reading something of a repository.
func (e *endpoint) request(ctx context.Context, method, repo, what string) (*http.Request, error) {
	ctx = auth.AppendRepositoryScope(ctx, registry.Reference{Registry: e.host, Repository: repo}, auth.ActionPull)
	u := e.url(e.speaks(ctx))
	u.Path = "/v2/" + repo + "/" + what
	return http.NewRequestWithContext(ctx, method, u.String(), nil)
}

// describeHead reads a descriptor from the headers of an answer.
func describeHead(resp *http.Response, ref reference.Reference) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{Digest: ref.Digest, Size: resp.ContentLength}
	var err error
	if d.MediaType, _, err = mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil {
		return d, fmt.Errorf("the answer's Content-Type: %w", err)
	}
	if said := resp.Header.Get(digestHeader); said != "" || ref.Digest == "" {
		sum, err := digest.Parse(said)
		if err != nil {
			return d, fmt.Errorf("the answer's %s %.80q: %w", digestHeader, said, err)
		}
		// A digest of another algorithm proves nothing; the body will.
		if ref.Digest != "" && sum.Algorithm() == ref.Digest.Algorithm() && sum != ref.Digest {
			return d, fmt.Errorf("the registry has %s in place of %s: %w", sum, ref.Digest, ErrDigest)
		}
		if ref.Digest == "" {
			d.Digest = sum
		}
	}
	if d.Size < 0 {
		return d, fmt.Errorf("the answer has no Content-Length")
	}
	return d, checkManifest(d)
}

// describeBody reads a manifest to know what it is.
func (e *endpoint) describeBody(ctx context.Context, ref reference.Reference) (ocispec.Descriptor, error) {
	resp, err := e.manifest(ctx, http.MethodGet, ref)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return ocispec.Descriptor{}, errdef.ErrNotFound
	default:
		return ocispec.Descriptor{}, failure(resp)
	}
	if n := resp.ContentLength; n > maxManifest {
		return ocispec.Descriptor{}, tooLarge(n)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if len(b) > maxManifest {
		return ocispec.Descriptor{}, tooLarge(int64(len(b)))
	}
	d := ocispec.Descriptor{MediaType: manifestType(resp.Header.Get("Content-Type"), b), Digest: digest.FromBytes(b), Size: int64(len(b))}
	want := ref.Digest
	if said, err := digest.Parse(resp.Header.Get(digestHeader)); err == nil && want == "" {
		want = said
	}
	if want != "" {
		if sum := want.Algorithm().FromBytes(b); sum != want {
			return d, fmt.Errorf("the registry sent %s in place of %s: %w", sum, want, ErrDigest)
		}
		d.Digest = want
	}
	return d, nil
}

// manifestType is the type of a manifest that came under a header. The header
// counts, save where it is no manifest's; then the manifest itself tells, but
// nothing is taken for one that could be read as two.
func manifestType(header string, body []byte) string {
	said, _, err := mime.ParseMediaType(header)
	if err == nil && isManifest(said) {
		return said
	}
	var m struct {
		MediaType string          `json:"mediaType"`
		Config    json.RawMessage `json:"config"`
		Layers    json.RawMessage `json:"layers"`
		Manifests json.RawMessage `json:"manifests"`
		Schema    int             `json:"schemaVersion"`
	}
	if json.Unmarshal(body, &m) != nil || m.Schema != 2 {
		return said
	}
	image, index := m.Config != nil && m.Layers != nil && m.Manifests == nil, m.Manifests != nil && m.Config == nil && m.Layers == nil
	switch {
	case image && (m.MediaType == dockerManifest || m.MediaType == ocispec.MediaTypeImageManifest),
		index && (m.MediaType == dockerList || m.MediaType == ocispec.MediaTypeImageIndex):
		return m.MediaType
	case image && m.MediaType == "":
		return ocispec.MediaTypeImageManifest
	case index && m.MediaType == "":
		return ocispec.MediaTypeImageIndex
	}
	return said
}
