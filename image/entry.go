package image

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/engine"
)

// entry is what one namespace of the store has of some content. All that have an entry
// have the same file.
type entry struct {
	e      *engine.Engine // of the namespace
	ctx    context.Context
	digest digest.Digest
	labels map[string]string
	end    func(*error) // of the lease in ctx
}

// entriesOf are those of all namespaces that are the engine's own, this one's first,
// whether it has the content or not. As long as the leases in their contexts last, what
// the content keeps stays.
func entriesOf(ctx context.Context, e *engine.Engine, d digest.Digest) (list []entry, err error) {
	defer func() {
		if err != nil {
			end(list, &err)
			list = nil
		}
	}()
	all := []string{e.Namespace}
	if e.Backend.Sole() {
		more, err := e.Client.NamespaceService().List(ctx)
		if err != nil {
			return nil, fmt.Errorf("list namespaces: %w", err)
		}
		all = append(all, more...)
	}
	for n, ns := range all {
		if n > 0 && ns == e.Namespace {
			continue
		}
		in := e.In(ns)
		i, err := e.Client.ContentStore().Info(in.Context(ctx), d)
		if n > 0 && errdefs.IsNotFound(err) {
			continue
		}
		if err != nil && !errdefs.IsNotFound(err) {
			return list, err
		}
		it := entry{e: in, digest: d, labels: i.Labels}
		if it.ctx, it.end, err = in.Lease(in.Context(ctx)); err != nil {
			return list, err
		}
		list = append(list, it)
		if err := it.holdKept(); err != nil {
			return list, err
		}
	}
	return list, nil
}

// end ends the leases of entries.
func end(list []entry, err *error) {
	for _, it := range list {
		it.end(err)
	}
}

// holdKept keeps what the content keeps, while it is not there itself.
func (it entry) holdKept() error {
	v := inventory{e: it.e, content: map[digest.Digest]content.Info{it.digest: {Digest: it.digest, Labels: it.labels}}}
	for _, p := range v.keeps(contentPart(it.digest)) {
		var err error
		if name, ok := strings.CutPrefix(p.room, snapshotRoom); ok {
			err = it.e.HoldSnapshot(it.ctx, name, p.id)
		} else {
			err = it.e.HoldContent(it.ctx, digest.Digest(p.id))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// delete takes the namespace's entry away, if there is one.
func (it entry) delete() error {
	ctx, cancel := it.e.Cleanup(it.ctx)
	defer cancel()
	err := it.e.Client.ContentStore().Delete(ctx, it.digest)
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// restore gives the namespace its entry again, of the file that another one has by now.
func (it entry) restore(size int64) error {
	ctx, cancel := it.e.Cleanup(it.ctx)
	defer cancel()
	cs := it.e.Client.ContentStore()
	ref := "ctor-restore-" + rand.Text()
	w, err := content.OpenWriter(ctx, cs, content.WithRef(ref), content.WithDescriptor(ocispec.Descriptor{Digest: it.digest, Size: size}))
	if err != nil {
		return err
	}
	defer abort(ctx, cs, ref)
	defer w.Close()
	return w.Commit(ctx, size, it.digest, content.WithLabels(it.labels))
}
