package repository

import (
	"context"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// linkLabel begins the labels by which a manifest keeps what is about it in one
// repository: as long as the one is there, so is the other.
const linkLabel = "containerd.io/gc.ref.content/referrer/"

func link(name string, d digest.Digest) string {
	return linkLabel + name + "/" + strings.ReplaceAll(d.String(), ":", "-")
}

// linked gives what is about a manifest in the repository of a name.
func (s *store) linked(ctx context.Context, name string, of digest.Digest) (list []ocispec.Descriptor, err error) {
	info, err := s.e.Client.ContentStore().Info(ctx, of)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for label, value := range info.Labels {
		d := digest.Digest(value)
		if label != link(name, d) {
			continue
		}
		k, err := s.family(ctx, d)
		if err != nil {
			return nil, err
		}
		list = append(list, ocispec.Descriptor{MediaType: k.mediaType, Digest: d})
	}
	return list, nil
}

// tie lets one manifest live with another that it is about.
func (s *store) tie(ctx context.Context, name string, subject, about digest.Digest) error {
	return s.label(ctx, subject, link(name, about), about.String())
}

// untie ends it, if the subject is there.
func (s *store) untie(ctx context.Context, name string, subject, about digest.Digest) error {
	err := s.label(ctx, subject, link(name, about), "")
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

func (s *store) label(ctx context.Context, of digest.Digest, label, value string) error {
	info := content.Info{Digest: of, Labels: map[string]string{label: value}}
	_, err := s.e.Client.ContentStore().Update(ctx, info, "labels."+label)
	return err
}
