package image

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/reference"
	"github.com/ctorhq/ctor/registry"
)

// Repair puts parts that [Check] has found to be damaged, or missing, into the store
// again, each from a registry that an image is named after which has it. Nothing else is
// fetched. What is damaged stays until all of the new content is there and found to be
// right; then it is replaced, for all namespaces of an engine of its own that have it, and
// read once more. Where a manifest was damaged, Check again: what it lists was not known. o says
// how to reach the registries; nil means as `docker login` left it.
//
// The error says of each part that could not be mended why, by each of its images:
// ctor.ErrNotFound where no registry has it, and for a part of no image;
// ctor.ErrUnavailable where a containerd that runs keeps the damaged file for another
// namespace. The others are mended all the same.
func Repair(ctx context.Context, e *ctor.Engine, o *registry.Options, damage ...Damage) (err error) {
	defer wrap(&err, "repair images", "")
	ctx, end, err := begin(ctx, engine.Of(e))
	if err != nil {
		return err
	}
	defer end(&err)
	r := repairer{e: engine.Of(e), options: o}
	var errs []error
	for _, d := range damage {
		if err := r.repair(ctx, d); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", d.Digest, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// repairer replaces content.
type repairer struct {
	e       *engine.Engine
	options *registry.Options
}

func (r *repairer) repair(ctx context.Context, damage Damage) error {
	d := ocispec.Descriptor{MediaType: damage.MediaType, Digest: damage.Digest, Size: damage.Size}
	if len(damage.Images) == 0 {
		return fmt.Errorf("no image has it: %w", errdefs.ErrNotFound)
	}
	if err := acceptable(d); err != nil {
		return err
	}
	var errs []error
	for _, name := range damage.Images {
		err := r.from(ctx, name, d)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", name, err))
	}
	return errors.Join(errs...)
}

// from fetches a part from the registry that an image is named after.
func (r *repairer) from(ctx context.Context, name string, d ocispec.Descriptor) error {
	ref, err := reference.Parse(name)
	if err != nil {
		return err
	}
	reg, err := registry.New(ref.Host, r.options)
	if err != nil {
		return err
	}
	rc, err := reg.Fetch(ctx, ref.Repository, d)
	if err != nil {
		return err
	}
	defer rc.Close()
	// Not by its digest: there is something of that name.
	ingest := "ctor-repair-" + rand.Text()
	w, err := content.OpenWriter(ctx, r.e.Client.ContentStore(), content.WithRef(ingest))
	if err != nil {
		return err
	}
	defer abort(ctx, r.e.Client.ContentStore(), ingest)
	defer w.Close()
	sum := d.Digest.Verifier()
	n, err := io.Copy(io.MultiWriter(w, sum), rc)
	if err != nil {
		return err
	}
	if n != d.Size || !sum.Verified() {
		return fmt.Errorf("the registry sent something else: %w", registry.ErrDigest)
	}
	return r.replace(ctx, w, d)
}

// replace puts new content in the place of what there is.
func (r *repairer) replace(ctx context.Context, w content.Writer, d ocispec.Descriptor) (err error) {
	entries, err := entriesOf(ctx, r.e, d.Digest)
	if err != nil {
		return err
	}
	defer end(entries, &err)
	if err := ctx.Err(); err != nil {
		return err
	}
	// From here on it must come to an end: once it is deleted, it is missing.
	for _, it := range entries {
		if err := it.delete(); err != nil {
			return err
		}
	}
	ctx, cancel := r.e.Cleanup(ctx)
	defer cancel()
	if err := r.e.Collect(ctx); err != nil { // the file itself goes with this
		return err
	}
	ctx, cancel = r.e.Cleanup(ctx) // Collect may have taken all of the time that there was
	defer cancel()
	if err := w.Commit(ctx, d.Size, d.Digest, content.WithLabels(entries[0].labels)); err != nil {
		return err
	}
	for _, it := range entries[1:] {
		if err := it.restore(d.Size); err != nil {
			return fmt.Errorf("namespace %q, which has it as well: %w", it.e.Namespace, err)
		}
	}
	if err := r.link(ctx, d); err != nil {
		return err
	}
	return r.mended(ctx, d)
}

// link keeps what a manifest lists as long as the manifest.
func (r *repairer) link(ctx context.Context, d ocispec.Descriptor) error {
	if !images.IsManifestType(d.MediaType) && !images.IsIndexType(d.MediaType) {
		return nil
	}
	cs := r.e.Client.ContentStore()
	_, err := images.SetChildrenLabels(cs, func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		return children(ctx, cs, d)
	})(ctx, d)
	return err
}

// mended reads content that was replaced. A containerd that runs has kept the old file
// if a namespace of another program has it as well.
func (r *repairer) mended(ctx context.Context, d ocispec.Descriptor) error {
	cs := r.e.Client.ContentStore()
	c := checker{e: r.e, cs: cs}
	problem, err := c.problem(ctx, content.Info{Digest: d.Digest, Size: d.Size})
	if err != nil || problem == "" {
		return err
	}
	all, err := r.e.Client.NamespaceService().List(ctx)
	if err != nil {
		return fmt.Errorf("list namespaces: %w", err)
	}
	var others []string
	for _, ns := range all {
		if ns == r.e.Namespace {
			continue
		}
		if _, err := cs.Info(r.e.In(ns).Context(ctx), d.Digest); err == nil {
			others = append(others, fmt.Sprintf("ctr --namespace %s content rm %s", ns, d.Digest))
		}
	}
	if len(others) == 0 {
		return fmt.Errorf("it was written again, and %s: %w", problem, errdefs.ErrUnavailable)
	}
	return fmt.Errorf("%s still, since another namespace has the same file: repair it again after %s: %w", problem, strings.Join(others, "; "), errdefs.ErrUnavailable)
}
