package registry

import (
	"context"
	"iter"

	"github.com/ctorhq/ctor/internal/reference"
)

// Tags lists the tags of repo, in the registry's order, which should be
// lexical; what can't be a tag is left out. It asks for a page when the loop
// gets there. An error ends it and is the last thing it yields: ErrNotFound if
// there is no such repository.
func (r *Registry) Tags(ctx context.Context, repo string) iter.Seq2[string, error] {
	const op = "list tags of"
	name, err := r.repository(repo)
	if err != nil {
		return once[string](r.failed(ctx, op, "", err))
	}
	list := func(ctx context.Context, page func([]string) error) error {
		return r.origin.repository(ctx, name.Repository).Tags(ctx, "", page)
	}
	return pages(ctx, r, op, name.Repository, list, func(tag string) (string, bool) {
		ref, err := reference.Parse("x/x:" + tag)
		return tag, err == nil && ref.Tag == tag
	})
}
