package registry

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"

	"oras.land/oras-go/v2/errdef"
)

var errStop = errors.New("stop")

// maxEmpty bounds the pages in a row with nothing in them, as registries send
// that leave out what the caller may not see.
const maxEmpty = 100

// pages makes an iterator of a paged listing. An entry whose key is no good is
// left out: it is of no use with the other methods, and no reason to lose the
// rest. The registry decides how many pages there are, so one that never ends
// must be noticed: by a page that is asked for twice, or begins like an
// earlier one, and at last by their number.
func pages[T any](ctx context.Context, r *Registry, op, name string, list func(ctx context.Context, page func([]T) error) error, key func(T) (string, bool)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		begun := make(map[string]bool)
		count, empty := 0, 0
		err := list(context.WithValue(ctx, trailKey{}, trail{}), func(page []T) error {
			if count++; count > maxPages {
				return fmt.Errorf("the registry's list has more than %d pages: %w", maxPages, errdef.ErrTooManyPages)
			}
			if empty++; len(page) > 0 {
				empty = 0
				first, _ := key(page[0])
				if begun[first] {
					return endless("page %d begins like an earlier one", count)
				}
				begun[first] = true
			}
			if empty > maxEmpty {
				return endless("%d pages in a row are empty", empty)
			}
			for _, v := range page {
				if _, ok := key(v); ok && !yield(v, nil) {
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

func endless(format string, arg ...any) error {
	return fmt.Errorf("the registry's list has no end: %s: %w", fmt.Sprintf(format, arg...), errdef.ErrTooManyPages)
}

// trail is the requests of one listing, which oras makes of the links in the
// answers: a client refuses to go in circles.
type trail map[string]bool

type trailKey struct{}

func (t trail) step(req *http.Request) error {
	at := req.Method + " " + req.URL.String()
	if t[at] {
		return endless("its pages link to one another")
	}
	t[at] = true
	return nil
}

// once is the iterator of an error alone.
func once[T any](err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		yield(none, err)
	}
}
