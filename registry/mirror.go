package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"oras.land/oras-go/v2/registry/remote"

	"github.com/ctorhq/ctor/internal/reference"
)

// read asks the mirrors in order and then the registry itself. A mirror's
// failure counts only if the registry fails too, and then only as a remark.
func read[T any](ctx context.Context, r *Registry, op string, ref reference.Reference, ask func(*remote.Repository) (T, error)) (T, error) {
	var missed []error
	for _, m := range r.mirrors {
		v, err := ask(m.repository(ref.Repository))
		if err == nil {
			return v, nil
		}
		missed = append(missed, newError(ctx, op, m.host, ref.Name(), err))
		if ctx.Err() != nil {
			break
		}
	}
	v, err := ask(r.origin.repository(ref.Repository))
	if err == nil {
		return v, nil
	}
	e := newError(ctx, op, r.host, ref.Name(), err)
	e.Mirrors = missed
	return v, e
}

var errSlow = errors.New("no answer in time")

// patience gives up on a host that doesn't begin to answer in time. The body
// may then take as long as the request's context allows.
type patience struct {
	base  http.RoundTripper
	limit time.Duration
}

func (p *patience) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(p.limit, func() { cancel(errSlow) })
	resp, err := p.base.RoundTrip(req.WithContext(ctx))
	if !timer.Stop() && context.Cause(ctx) == errSlow {
		if err == nil {
			resp.Body.Close()
		}
		return nil, errSlow
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	// The context must live as long as the body is read.
	resp.Body = &cancelBody{ReadCloser: resp.Body, cancel: sync.OnceFunc(func() { cancel(nil) })}
	return resp, nil
}

type cancelBody struct {
	io.ReadCloser
	cancel func()
}

func (b *cancelBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
