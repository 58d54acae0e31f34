package registry

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"oras.land/oras-go/v2/errdef"
)

var errStop = errors.New("stop")

// pages makes an iterator of a paged listing. The registry decides how many
// pages there are, so one that never ends must be noticed: by a page that
// begins like an earlier one, and at last by their number.
func pages[T any](ctx context.Context, r *Registry, op, name string, list func(page func([]T) error) error, key func(T) (string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		seen := make(map[string]bool)
		err := list(func(page []T) error {
			var first string
			for i, v := range page {
				k, err := key(v)
				if err != nil {
					return err
				}
				if i == 0 {
					first = k
				}
			}
			if seen[first] {
				return fmt.Errorf("the registry's list has no end: page %d begins like an earlier one: %w", len(seen)+1, errdef.ErrTooManyPages)
			}
			if len(seen) == maxPages {
				return fmt.Errorf("the registry's list has more than %d pages: %w", maxPages, errdef.ErrTooManyPages)
			}
			seen[first] = true
			for _, v := range page {
				if !yield(v, nil) {
					return errStop
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			var none T
			yield(none, r.failed(ctx, op, name, err))
		}
	}
}

// once is the iterator of an error alone.
func once[T any](err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		yield(none, err)
	}
}
