package registry

import (
	"context"

	"github.com/ctorhq/ctor/internal/reference"
)

// read asks the mirrors in order and then the registry itself. A mirror's
// failure counts only if the registry fails too, and then only as a remark.
func read[T any](ctx context.Context, r *Registry, op string, ref reference.Reference, ask func(*endpoint) (T, error)) (T, error) {
	var missed []error
	for _, m := range r.mirrors {
		v, err := ask(m)
		if err == nil {
			return v, nil
		}
		missed = append(missed, newError(ctx, op, m.host, ref.Name(), err))
		if ctx.Err() != nil {
			break
		}
	}
	v, err := ask(r.origin)
	if err == nil {
		return v, nil
	}
	e := newError(ctx, op, r.host, ref.Name(), err)
	e.Mirrors = missed
	return v, e
}
