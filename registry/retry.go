package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// maxWait is the longest that a registry may have a call wait by Retry-After.
const maxWait = 2 * time.Minute

// patiently is oras' retry policy with what oras' own lacks: Retry-After as a
// date and with 503, waits that are as long as the registry says, and a
// connection that ends before an answer.
type patiently struct{ retries int }

// Retry returns how long to wait, or less than nothing where that is no use.
func (p patiently) Retry(attempt int, resp *http.Response, err error) (time.Duration, error) {
	if attempt >= p.retries {
		return -1, nil
	}
	if err != nil {
		if mayPass(err) {
			return backoff(attempt), nil
		}
		return -1, nil
	}
	switch s := resp.StatusCode; {
	case s == http.StatusTooManyRequests, s == http.StatusServiceUnavailable:
		wait := time.Until(retryAfter(resp))
		if wait <= 0 {
			return backoff(attempt), nil
		}
		if deadline, ok := resp.Request.Context().Deadline(); wait > maxWait || ok && time.Until(deadline) < wait {
			return -1, nil
		}
		return wait, nil
	case s == http.StatusRequestTimeout, s >= 500 && s != http.StatusNotImplemented:
		return backoff(attempt), nil
	}
	return -1, nil
}

// mayPass reports whether a request may succeed the next time.
func mayPass(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var record tls.RecordHeaderError
	var n net.Error
	return !errors.As(err, &record) && errors.As(err, &n) && n.Timeout() || isCut(err)
}

// isCut reports whether a connection ended when it should not have. One that
// ended while a request was being sent is closed on this side as well.
func isCut(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// backoff grows from a quarter of a second to three, give or take a tenth.
func backoff(attempt int) time.Duration {
	d := min(250*time.Millisecond<<min(attempt, 10), 3*time.Second)
	return d - d/10 + rand.N(d/5)
}

// retryAfter returns when the registry wants to be asked again, as it says in
// seconds or by a date (RFC 9110, 10.2.3), or the zero time.
func retryAfter(resp *http.Response) time.Time {
	s := resp.Header.Get("Retry-After")
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > 0 {
		const year = 366 * 24 * 3600 // beyond which the time would overflow
		return time.Now().Add(time.Duration(min(n, year)) * time.Second)
	}
	t, err := http.ParseTime(s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// isBusy reports whether the registry asks to come back later.
func isBusy(resp *http.Response) bool {
	return resp.StatusCode == http.StatusTooManyRequests ||
		resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != ""
}
