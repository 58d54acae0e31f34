package repository

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/events"
	"github.com/ctorhq/ctor/internal/reference"
)

// names are what a repository's images begin with in the engine. The first is
// the repository's name as Docker completes it, and what is pushed gets it. By
// the second, an image that is named after this very registry is found too.
func (v view) names(repo string) ([]string, error) {
	r, err := reference.Parse(repo)
	if err != nil {
		return nil, refused(err)
	}
	names := []string{r.Host + "/" + r.Repository}
	if host, err := reference.Host(v.host); err == nil {
		here, err := reference.Repository(host, repo)
		if name := here.Host + "/" + here.Repository; err == nil && name != names[0] {
			names = append(names, name)
		}
	}
	return names, nil
}

// repository is the reverse of names: "" for an image that has none here.
func (v view) repository(r reference.Reference) string {
	short := strings.TrimPrefix(r.Repository, "library/")
	for _, name := range []string{short, r.Repository, r.Host + "/" + r.Repository} {
		back, err := reference.Parse(name)
		if err == nil && back.Host == r.Host && back.Repository == r.Repository && !strings.Contains(name, ":") {
			return name
		}
	}
	if r.Host == v.host {
		return r.Repository
	}
	return ""
}

// record is a name in a repository.
type record struct {
	name   string // whole
	tag    string // "" where the name has a digest
	target ocispec.Descriptor
	stands bool // for a push, and not for what the program has named so
}

// standLabel marks the name of a manifest that was pushed by its digest, or has
// lost its tag. Such a name goes when another in the repository leads there.
const standLabel = "io.ctor.untagged"

// records gives what has a name in a repository, the first names first.
func (v view) records(ctx context.Context, repo string) ([]record, error) {
	names, err := v.names(repo)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrNotFound)
	}
	all, err := v.e.Client.ImageService().List(ctx)
	if err != nil {
		return nil, err
	}
	var list []record
	for _, name := range names {
		for _, i := range all {
			rest, ok := strings.CutPrefix(i.Name, name)
			if !ok || rest == "" || rest[0] != ':' && rest[0] != '@' {
				continue
			}
			if r, err := reference.Parse(i.Name); err == nil {
				list = append(list, newRecord(i, r))
			}
		}
	}
	return list, nil
}

func newRecord(i images.Image, r reference.Reference) record {
	target := ocispec.Descriptor{MediaType: i.Target.MediaType, Digest: i.Target.Digest, Size: i.Target.Size}
	if r.Digest != "" {
		return record{i.Name, "", target, i.Labels[standLabel] != ""}
	}
	return record{i.Name, r.Tag, target, false}
}

// tag makes a tag's name stand for a manifest.
func (v view) tag(ctx context.Context, name, tag string, target ocispec.Descriptor) error {
	return v.e.NameImage(ctx, name+":"+tag, target)
}

// stand gives a manifest its digest for a name.
func (v view) stand(ctx context.Context, name string, target ocispec.Descriptor) error {
	i := images.Image{Name: name + "@" + target.Digest.String(), Target: target, Labels: map[string]string{standLabel: "true"}}
	_, err := v.e.Client.ImageService().Create(ctx, i)
	if errdefs.IsAlreadyExists(err) {
		return nil // a digest means one thing only
	}
	return err
}

// remove takes a name away, if it is there.
func (v view) remove(ctx context.Context, name string, opts ...images.DeleteOpt) error {
	err := v.e.Client.ImageService().Delete(ctx, name, opts...)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err == nil {
		v.e.Tell(events.Event{Kind: events.Image, Action: events.Removed, Name: name})
	}
	return err
}
