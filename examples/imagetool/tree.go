package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/registry"
)

// A branch is a line of a tree, and what hangs on it.
type branch struct {
	line  string
	below []branch
}

// tree shows what a registry has of an image, without pulling it.
func (t *tool) tree(ctx context.Context, flags *flag.FlagSet, args []string) error {
	r, repo, name, d, err := resolve(ctx, flags, args)
	if err != nil {
		return err
	}
	g := grower{r, repo}
	root, err := g.manifest(ctx, d, 0)
	if err != nil {
		return err
	}
	root.line = name + "  " + root.line
	fmt.Fprintln(t.stdout, root.line)
	t.draw("", root.below)
	return nil
}

func (t *tool) draw(indent string, list []branch) {
	for n, b := range list {
		mark, next := "├── ", "│   "
		if n == len(list)-1 {
			mark, next = "└── ", "    "
		}
		fmt.Fprintln(t.stdout, indent+mark+visible(b.line))
		t.draw(indent+next, b.below)
	}
}

// grower makes branches of what a repository has.
type grower struct {
	r    *registry.Registry
	repo string
}

// deepest is how many manifests in one another are shown.
const deepest = 5

func (g grower) manifest(ctx context.Context, d ocispec.Descriptor, depth int) (branch, error) {
	b := branch{line: describe(d)}
	body, err := g.r.Read(ctx, g.repo, d)
	if err != nil {
		return b, err
	}
	var m struct {
		ocispec.Manifest
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return b, fmt.Errorf("%s: %w", d.Digest, err)
	}
	if depth < deepest {
		for _, child := range m.Manifests {
			c, err := g.manifest(ctx, child, depth+1)
			if err != nil {
				return b, err
			}
			b.below = append(b.below, c)
		}
	}
	for _, l := range m.Layers {
		line := short(l.Digest) + "  " + size(l.Size)
		if title := l.Annotations[ocispec.AnnotationTitle]; title != "" {
			line += "  " + title
		}
		b.below = append(b.below, branch{line: line})
	}
	return b, g.about(ctx, d, depth, &b)
}

// about adds what is about a manifest.
func (g grower) about(ctx context.Context, d ocispec.Descriptor, depth int, b *branch) error {
	if depth >= deepest {
		return nil
	}
	for about, err := range g.r.Referrers(ctx, g.repo+"@"+d.Digest.String(), "") {
		if err != nil {
			return err
		}
		c, err := g.manifest(ctx, about, depth+1)
		if err != nil {
			return err
		}
		c.line = "about it: " + about.ArtifactType + "  " + short(about.Digest)
		b.below = append(b.below, c)
	}
	return nil
}

// describe says what a manifest is, as far as what lists it does.
func describe(d ocispec.Descriptor) string {
	if p := d.Platform; p != nil && p.OS != "" && p.OS != "unknown" {
		s := p.OS + "/" + p.Architecture
		if p.Variant != "" {
			s += "/" + p.Variant
		}
		return s + "  " + short(d.Digest)
	}
	return short(d.Digest)
}
