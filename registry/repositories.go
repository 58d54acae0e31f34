package registry

import (
	"context"
	"iter"
)

// Repositories lists the names of all repositories, for use with the other
// methods; what can't be a repository is left out. It asks for a page when the
// loop gets there. An error ends it and is the last thing it yields.
//
// The catalog is no part of the distribution spec: Docker Hub and others
// refuse it, as ErrUnauthenticated, ErrPermissionDenied or ErrNotFound.
func (r *Registry) Repositories(ctx context.Context) iter.Seq2[string, error] {
	list := func(ctx context.Context, page func([]string) error) error {
		return r.origin.root(ctx).Repositories(ctx, "", page)
	}
	return pages(ctx, r, "list repositories", "", list, func(name string) (string, bool) {
		_, err := r.repository(name)
		return name, err == nil
	})
}
