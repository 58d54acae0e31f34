package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// What a host may take that is not a mirror. A registry that fetches what it is
// asked for from another one takes long to begin.
const (
	answerLimit = 2 * time.Minute
	stillLimit  = 30 * time.Second
)

var (
	errSlow  = errors.New("no answer in time")
	errStill = errors.New("the answer stands still")
)

// patience gives up on a host that doesn't begin to answer in time, or then
// sends nothing for some time. What it was sent it may ponder as long as the
// request's context allows.
type patience struct {
	base          http.RoundTripper
	answer, still time.Duration
}

func (p *patience) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	answered := func() bool { return true }
	if req.Method != http.MethodPut && req.Method != http.MethodPatch {
		answered = time.AfterFunc(p.answer, func() { cancel(errSlow) }).Stop
	}
	resp, err := p.base.RoundTrip(req.WithContext(ctx))
	if !answered() && context.Cause(ctx) == errSlow {
		if err == nil {
			resp.Body.Close()
		}
		err = errSlow
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	// The context must live as long as the body is read.
	resp.Body = &patientBody{ReadCloser: resp.Body, limit: p.still, ctx: ctx, cancel: cancel}
	return resp, nil
}

// patientBody gives up a Read in which nothing comes. The time between two is the
// reader's.
type patientBody struct {
	io.ReadCloser
	limit  time.Duration
	ctx    context.Context // of the request
	cancel context.CancelCauseFunc
}

func (b *patientBody) Read(p []byte) (int, error) {
	timer := time.AfterFunc(b.limit, func() { b.cancel(errStill) })
	n, err := b.ReadCloser.Read(p)
	timer.Stop()
	if err != nil && err != io.EOF && context.Cause(b.ctx) == errStill {
		err = errStill
	}
	return n, err
}

func (b *patientBody) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}
