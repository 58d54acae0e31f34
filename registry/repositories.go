package registry

import (
	"context"
	"fmt"
	"iter"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
)

// Repositories lists the names of all repositories, for use with the other
// methods. It asks for a page when the loop gets there. An error ends it and
// is the last thing it yields.
//
// The catalog is no part of the distribution spec: Docker Hub and others
// refuse it, as ErrUnauthenticated, ErrPermissionDenied or ErrNotFound.
func (r *Registry) Repositories(ctx context.Context) iter.Seq2[string, error] {
	catalog := &remote.Registry{RepositoryOptions: remote.RepositoryOptions{
		Client:           r.origin.client,
		Reference:        registry.Reference{Registry: r.origin.host},
		PlainHTTP:        r.origin.plain,
		MaxMetadataBytes: maxList,
	}}
	list := func(page func([]string) error) error {
		return catalog.Repositories(ctx, "", page)
	}
	return pages(ctx, r, "list repositories", "", list, func(name string) (string, error) {
		if _, err := r.repository(name); err != nil {
			return "", fmt.Errorf("the registry lists %.200q, which is no repository", name)
		}
		return name, nil
	})
}
